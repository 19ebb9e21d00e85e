"""Utility for a language model, as HARMONIC's authors measured it: for the comparison with their table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from harmonic.codec import RowCodec
from harmonic.errors import BadInput
from harmonic.lm.batches import Training
from harmonic.lm.load import Backbone, Lora, Pretrained, backbone
from harmonic.metrics.llm_utility import Questions, greedy_answers, learn_answers, readable_rows
from harmonic.metrics.utility import usable_rows
from harmonic.seed import derive_seed, global_seed
from harmonic.table import Split
from harmonic.table.encoding import EMPTY
from harmonic.table.schema import Schema
from harmonic.training import Compute

MODEL = Pretrained(
    "meta-llama/Llama-2-7b-chat-hf",
    revision="main",
    dtype="bfloat16",
    lora=Lora(targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")),
)
RECIPE = Training(epochs=7, batch_size=4, accumulate=8, learning_rate=1e-4, gradient_checkpointing=True)
"""Seven epochs in batches of 32, four rows at a time."""
SLACK = 8
"""Tokens that an answer may have beyond the longest class: words before it, or a sentence in place of a word."""


@dataclass(frozen=True)
class Task:
    """How one data set is asked about."""

    sentence: str
    """Up to the first feature."""
    answers: Mapping[str, str]
    """Class, as its text stands in the file, to the word that is asked for."""


@dataclass(frozen=True)
class PublishedLanguageModelEfficacy:
    """LLM efficacy (LLE) as published: the number of the paper's table, with its faults.

    Definition. LLaMA-2-7b-chat is fine-tuned with LoRA (r 16, alpha 32, dropout .05 on all projections) on one question for
    each synthetic row: the data set's task sentence, "The state of {column} is {value}, …", and the class's word as the
    answer; 7 epochs in batches of 32 at a rate of 1e-4. Training puts the question in the dialogue form
    ("Human: … Assistant: …"), the test leaves it off, as published. Columns keep the file's order; cells are what pandas
    read ("9.0", "nan"). The model answers every real test row greedily.

    * `lle_published`: weighted F1 over the test rows, 0 to 1, greater is better.
    * `lle_published_unreadable`: the share of answers that name no class, ideal 0. Each counts as an error.

    Where it cannot follow the published code. How that reads an answer is not known from what could be read: here, the
    class whose word comes first in the answer, as a whole word in either case. Schedule, warm-up and weight decay are the
    generator's. German's codes stay codes ("A11"), which the authors spelled out in words. Their answers for Adult compared
    a number with ">=50k", which made every one of them "bad"; here class 1 is "good". A data set that they did not ask about
    needs a sentence of its own. Rows without a target are left out.

    What it cannot see: beyond what the corrected form cannot see, how sure the model is, and a model that has learnt the
    answers but not to give them without the dialogue form: that reads like bad rows. On a table where one class is frequent,
    "always that" comes near the published scores.

    Source: Wang et al. 2024 (HARMONIC), LLE, and the task sentences and settings in its public repository.
    """

    model: Backbone | str = MODEL
    """The language model; its own recipe is not used."""
    compute: Compute | None = None
    """Device and precision."""
    training: Training = RECIPE
    """The recipe."""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """Data set's name to how it is asked about; conf/metrics/lle_published.yaml holds the paper's."""

    def digest_inputs(self) -> dict[str, str]:
        """SHA-256 of the files of a model that is a local folder."""
        return backbone(self.model).digest_inputs()

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """Scores by key; see the class.

        Raises:
            BadInput: the data set has no sentence, or one that lacks a class; or as in `LanguageModelEfficacy`.
        """
        rows = readable_rows(split, synthetic, "lle_published")
        questions = self._questions(split)
        rows = rows.iloc[usable_rows(split, rows, np.arange(len(rows)), "synthetic")[0]]
        numbers, target = usable_rows(split, split.test, np.arange(len(split.test)), "test")
        compute, seed = self.compute or Compute(), derive_seed(seed, "lle_published")
        with global_seed(seed):
            model, encoder = learn_answers(backbone(self.model), self.training, questions, rows, compute, seed=seed)
            prompts = [questions.prompt(cells) for cells in questions.codec.cells(split.test.iloc[numbers])]
            longest = max(len(encoder.encode([word])) for word in questions.choices) + SLACK
            predicted = read_classes(greedy_answers(model, encoder, prompts, longest, compute), questions.choices)
        score = f1_score(target, predicted, labels=np.unique(target), average="weighted", zero_division=0)
        return {"lle_published": float(score), "lle_published_unreadable": float((predicted == EMPTY).mean())}

    def _questions(self, split: Split) -> Questions:
        schema = split.schema
        if schema.task == "regression":
            raise BadInput(f"lle_published must have classes, but {schema.target!r} is a number: use metrics=lle.")
        if split.name not in self.tasks:
            known = ", ".join(self.tasks) or "none"
            raise BadInput(
                f"lle_published must have a sentence for {split.name!r}, but has those of {known}: add one under "
                f"metrics.lle_published.tasks, or use metrics=lle."
            )
        task = self.tasks[split.name]
        return Questions(RowCodec(schema, "published"), task.sentence, _words(schema, split.name, task.answers))


def _words(schema: Schema, name: str, answers: Mapping[str, str]) -> tuple[str, ...]:
    """The word of each class, in the schema's order."""
    lacking = [text for text in schema[schema.target].categories if text not in answers]
    if lacking:
        raise BadInput(
            f"metrics.lle_published.tasks.{name}.answers must name every class of {schema.target!r}, but lacks "
            f"{lacking[0]!r}: add it."
        )
    return tuple(answers[text] for text in schema[schema.target].categories)


def read_classes(answers: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """The class whose word comes first in each answer, as a whole word in either case; int64, EMPTY where there is none."""
    codes = {word.casefold(): code for code, word in enumerate(words)}
    either = "|".join(re.escape(word) for word in sorted(codes, key=len, reverse=True))
    found = [re.search(rf"(?<!\w)({either})(?!\w)", answer.casefold()) for answer in answers]
    return np.array([codes[match[1]] if match else EMPTY for match in found], dtype=np.int64)
