"""What a language-model method will read and write for a table: tokens, memory and speed, before it is trained."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from harmonic.codec import ASSISTANT, HUMAN, Instruction, frequent_segments
from harmonic.lm.batches import Training
from harmonic.lm.blueprint import Blueprint
from harmonic.lm.footprint import Shape, fit_bytes, sample_bytes
from harmonic.lm.probe import Script, training_speed, undisturbed, writing_speed
from harmonic.method import Harmonic
from harmonic.seed import derive_seed

MOST_PROMPTS = 1000
"""Prompts whose tokens are counted; the others are taken to be like them."""
PROBE_ROWS = {"cpu": 16, "cuda": 128}
"""Rows that the probe of sampling writes at most: on a processor time grows with them, on a GPU it hardly does."""
PROBE_BYTES = 4e9
"""Weights larger than this are not loaded for a probe."""


@dataclass(frozen=True)
class Workload:
    """What `fit` and `sample` of a HARMONIC have before them; its table is prepared."""

    harmonic: Harmonic
    blueprint: Blueprint
    training: Training
    fit_seed: int
    sample_seed: int
    rows: int
    """To be written, those included that are not kept or not returned."""
    lengths: list[list[float]]
    """Of each planned batch, the tokens of each instruction with its answer and end."""
    loss_tokens: list[float]
    """Of each batch, at how many places some row's next token bears a loss."""
    prompts: list[float]
    """Tokens of the first prompts."""
    answers: list[float]
    """Tokens of train's rows, which those to be written are taken to be like."""

    @property
    def is_exact(self) -> bool:
        """Whether tokens were counted; else they are estimated from characters."""
        return self.blueprint.encoder is not None

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return -(-len(self.lengths) // self.training.accumulate)

    @property
    def epochs(self) -> float:
        """How often each instruction is seen."""
        return sum(map(len, self.lengths)) / len(self.harmonic.groups)

    @property
    def fit_tokens(self) -> float:
        """That are trained on, padding left out."""
        return sum(map(sum, self.lengths))

    @property
    def sample_tokens(self) -> float:
        """That are read and written if every try is a valid row."""
        return self.rows * float(np.mean(self.prompts) + np.mean(self.answers))

    @property
    def longest(self) -> int:
        """Tokens of the longest instruction of the plan."""
        return int(max(map(max, self.lengths)))

    @cached_property
    def shape(self) -> Shape | None:
        """Of the model; None where its config.json is not on this machine."""
        return None if self.blueprint.model is None else Shape.of(self.blueprint.model, self.harmonic.compute)

    @property
    def fit_bytes(self) -> int | None:
        """Most that fine-tuning holds, on the batch that needs most; see `harmonic.lm.footprint.fit_bytes`."""
        if self.shape is None:
            return None
        checkpointing, shape = self.training.gradient_checkpointing, self.shape
        sizes = {(len(b), int(max(b)), int(loss)) for b, loss in zip(self.lengths, self.loss_tokens, strict=True)}
        return max(fit_bytes(shape, *size, gradient_checkpointing=checkpointing) for size in sizes)

    @property
    def sample_bytes(self) -> int | None:
        """Most that sampling holds; see `harmonic.lm.footprint.sample_bytes`."""
        if self.shape is None:
            return None
        rows = min(self.rows, self.harmonic.sampling.decoding.batch_size)
        return sample_bytes(self.shape, rows, int(max(self.prompts) + max(self.answers)))

    def probe(self, *, fit: bool, sample: bool) -> tuple[float | None, float | None]:
        """Seconds of fit and of sample, by the speed of a few real steps on this device; None for what is not asked for.

        The model is made anew from local files and thrown away; the global random state stays as it is.
        """
        harmonic, backbone = self.harmonic, self.blueprint.backbone
        assert backbone is not None and self.blueprint.encoder is not None
        with undisturbed(harmonic.compute.device):
            values = (text for row in harmonic.cells for text in row)
            segments = frequent_segments(harmonic.codec, harmonic.k)
            model, _ = backbone.create(values, segments, derive_seed(self.fit_seed, "weights"))
            encoder = self.blueprint.encoder
            fit_s = sample_s = None
            if fit:
                speed = training_speed(model, encoder, self._two_batches(), self.training, harmonic.compute)
                fit_s = sum(len(batch) * max(batch) for batch in self.lengths) / speed
            if sample:
                sample_s = self.rows / writing_speed(model, encoder, self._scripts(), harmonic.compute)
        return fit_s, sample_s

    def _two_batches(self) -> list[list[Instruction]]:
        """The batch of median size and the largest, padding counted."""
        order = np.argsort([len(batch) * max(batch) for batch in self.lengths], kind="stable")
        wanted = [int(order[len(order) // 2]), int(order[-1])]
        planned = itertools.islice(self.harmonic.instructions.batches(self.training, self.fit_seed), max(wanted) + 1)
        found = {number: batch for number, batch in enumerate(planned) if number in wanted}
        return [found[number] for number in wanted]

    def _scripts(self) -> list[Script]:
        """The first prompts, answered with train's rows."""
        harmonic = self.harmonic
        count = min(self.rows, harmonic.sampling.decoding.batch_size, PROBE_ROWS[harmonic.compute.device.type])
        prompts = [harmonic.prompt(number, self.sample_seed) for number in range(count)]
        rows = itertools.cycle(harmonic.cells)
        return [
            Script(prompt.text, prompt.keys, [row[place] for place in prompt.columns])
            for prompt, row in zip(prompts, rows, strict=False)
        ]


def workload(harmonic: Harmonic, train: pd.DataFrame, n: int, *, fit_seed: int, sample_seed: int) -> Workload:
    """What fitting a table and writing n rows will take.

    Args:
        harmonic: the method, not fitted; its table is prepared.
        train: the table.
        n: rows to be written.
        fit_seed: as `fit` will get it.
        sample_seed: as `sample` will get it.

    Raises:
        BadInput: the table makes no groups, or the model's folder holds no model.
    """
    harmonic.prepare(train, fit_seed)
    values = (text for row in harmonic.cells for text in row)
    blueprint = Blueprint.of(harmonic.backbone, values, frequent_segments(harmonic.codec, harmonic.k))
    training = harmonic.training
    if blueprint.model is not None:
        training = training.for_context(blueprint.model)
    count = _Counter(blueprint)
    lengths, loss_tokens = [], []
    for batch in harmonic.instructions.batches(training, fit_seed):
        answers = [count(item.answer) + 1 for item in batch]
        lengths.append([count(item.prompt) + answer for item, answer in zip(batch, answers, strict=True)])
        loss_tokens.append(_loss_places(lengths[-1], answers) if training.loss_on == "answer" else max(lengths[-1]) - 1)
    dialogue = count([HUMAN, ASSISTANT]) if harmonic.sampling.wrapped else 0
    prompts = [count(text) + dialogue for text in harmonic.sampling_prompts(min(n, MOST_PROMPTS), sample_seed)]
    rows = [count(harmonic.codec.row(row)) for row in harmonic.cells]
    written = harmonic.rows_written(n)
    return Workload(harmonic, blueprint, training, fit_seed, sample_seed, written, lengths, loss_tokens, prompts, rows)


def _loss_places(lengths: Sequence[float], answers: Sequence[float]) -> float:
    """At how many places of a batch, its rows flush left, some row's answer stands."""
    places = covered = 0.0
    for start, end in sorted((length - answer, length) for length, answer in zip(lengths, answers, strict=True)):
        places += max(0.0, end - max(start, covered))
        covered = max(covered, end)
    return places


class _Counter:
    """Tokens of texts; each segment is looked at once."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.known: dict[str, float] = {}

    def __call__(self, segments: Sequence[str]) -> float:
        for segment in segments:
            if segment not in self.known:
                self.known[segment] = self.blueprint.tokens(segment)
        return sum(map(self.known.__getitem__, segments))
