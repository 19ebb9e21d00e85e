"""GReaT: a language model fine-tuned on rows as sentences (Borisov et al., ICLR 2023), by its authors' package be-great."""

import itertools
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock
from urllib.parse import unquote

import numpy as np
import pandas as pd
import torch

from baselines.exchange import collect_rows
from baselines.quiet import quiet
from baselines.watch import Watch
from harmonic.budget import Budget, check_budget, check_minutes, settle, total_steps
from harmonic.codec import RowCodec
from harmonic.lm import load
from harmonic.lm.continuation import continue_texts
from harmonic.lm.decoding import Decoding
from harmonic.lm.grammar import DONE
from harmonic.lm.likelihood import Tokens, text_log_likelihoods, token_log_likelihoods
from harmonic.seed import derive_seed, global_seed
from harmonic.table import load_schema, save_schema, schema_of
from harmonic.training import Compute, progress_bar

UNSAFE = re.compile(r"[%,\n\r]|^\s|\s$|(?<= )i(?=s )|^(?:N(?=one$)|p(?=laceholder$))|<(?=[|/]*\w+\|?>)")
"""What the sentence form cannot hold in a name or a value: its own separators, words that be-great gives a meaning, and
what may spell a special token."""

TOP_K = 50
"""be-great leaves it at what transformers does unasked: a token is drawn among the 50 likeliest."""


@dataclass(frozen=True)
class Recipe:
    """How long the model is fine-tuned."""

    steps: int
    """It trains until both the steps and the epochs are done."""
    epochs: int = 0
    batch_size: int = 32


BUDGETS: dict[Budget, Recipe] = {
    "smoke": Recipe(steps=150),
    "default": Recipe(steps=1600, batch_size=8),
    "published": Recipe(steps=0, epochs=50),
}
"""Published is what HARMONIC's authors gave GReaT (be-great's own default is 100 epochs in batches of 8). A small model
learns which columns it has yet to write from many steps rather than from large batches: after 400 of 32, as many rows, 0 of
512 that it wrote of buddy had all columns."""


class Great:
    """GReaT as a `Synthesizer`; rows are "age is 31, sex is female, …", columns in a new order each time.

    The package trains. A row always begins with its target, drawn from train's values as in its older versions (the newer
    ones begin with a column drawn anew), so that classes come in train's shares and a numeric target is one of train's. The
    package is asked for rows a batch at a time, since its own `sample` returns fewer than asked, or none, when it meets an
    error; a row counts only if the schema accepts it. Texts that would break its sentences are escaped.

    Args:
        model: the language model, as for HARMONIC; its recipe gives the learning rate and the weight decay.
        budget: smoke, default or published, see `BUDGETS`.
        epochs: instead of the budget's.
        max_minutes: end fine-tuning after this long.
        temperature: of sampling; the authors' is .7.
        max_tries: rows written for each one wanted before giving up.
        compute: device and precision; a run that was killed starts afresh.
    """

    version = 2
    """Of fine-tuning: the second has smaller batches and more of them by default."""
    sampling_version = 2
    """Of how rows are written: the second has random numbers for each row."""

    def __init__(
        self,
        model: load.Backbone | str = "base",
        budget: Budget | None = None,
        epochs: int | None = None,
        max_minutes: float | None = None,
        temperature: float = 0.7,
        max_tries: int = 10,
        compute: Compute | None = None,
    ) -> None:
        self.backbone = load.backbone(model)
        self.budget, self.epochs, self.max_minutes = check_budget(budget), epochs, check_minutes(max_minutes)
        self.recipe = settle(budget, BUDGETS, epochs=epochs)
        self.temperature, self.max_tries = temperature, max_tries
        self.compute = compute or Compute()
        self.report: dict[str, Any] = {}

    def digest_inputs(self) -> dict[str, str]:
        """SHA-256 of the files of a model that is a local folder."""
        return self.backbone.digest_inputs()

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Fine-tune on the sentences of train."""
        self.schema = schema_of(train)
        cells = RowCodec(self.schema).cells(train)
        sentences = pd.DataFrame([[escape(text) if text else None for text in row] for row in cells], columns=self._names)
        self.starts = sentences.iloc[:, self._target].value_counts(normalize=True).to_dict()
        with tempfile.TemporaryDirectory() as folder, global_seed(seed):
            values = (text for row in cells for text in row)
            model, tokenizer = self.backbone.create(values, [], derive_seed(seed, "weights"))
            great, end = self._train(model, tokenizer, sentences, folder, seed)
        self.model, self.tokenizer = great.model.eval(), great.tokenizer
        in_place = range(len(self.schema.columns))
        lengths = [len(self.tokenizer(self._sentence(row, in_place)[0])["input_ids"]) for row in cells]
        self.longest = int(1.1 * max(lengths)) + 4
        self.report = {"recipe": asdict(self.recipe), **end}
        return self

    def _train(
        self, model: Any, tokenizer: Any, sentences: pd.DataFrame, folder: str, seed: int
    ) -> tuple[Any, dict[str, Any]]:
        import be_great.great
        from be_great import GReaT

        recipe = self.recipe
        watch = Watch("great", self.max_minutes)
        with (
            mock.patch.object(be_great.great, "AutoModelForCausalLM", _Given(model)),
            mock.patch.object(be_great.great, "AutoTokenizer", _Given(tokenizer)),
            mock.patch.object(be_great.great, "ChugProgressCallback", lambda: watch),
        ):
            great = GReaT(
                folder,
                experiment_dir=folder,
                max_steps=total_steps(
                    recipe.steps, recipe.epochs, len(sentences), recipe.batch_size, keeps_last=self.budget == "published"
                ),
                batch_size=recipe.batch_size,
                learning_rate=self.backbone.training.learning_rate,
                weight_decay=self.backbone.training.weight_decay,
                save_strategy="no",
                logging_steps=50,
                logging_nan_inf_filter=False,
                seed=seed,
                use_cpu=self.compute.device.type == "cpu",
                bf16=self.compute.resolved_precision == "bf16-mixed",
            )
            fused = model.config._attn_implementation
            if self.compute.device.type == "cuda":  # where fused kernels may have no numbers for padding in front of a text
                model.set_attn_implementation("eager")
            with quiet():
                great.fit(sentences, conditional_col=self._names[self._target], random_conditional_col=False)
            model.set_attn_implementation(fused)
        return great, watch.close()

    @property
    def _names(self) -> list[str]:
        return [escape(name) for name in self.schema.names]

    @property
    def _target(self) -> int:
        return self.schema.names.index(self.schema.target)

    def _sentence(self, cells: Sequence[str], order: Sequence[int]) -> tuple[str, list[tuple[int, int, int]]]:
        """A row's sentence, and of each column: where its value starts, where the comma behind it ends, its number."""
        text, spans = "", []
        for place in order:
            text += f"{', ' if text else ''}{self._names[place]} is"
            start = len(text)
            text += f" {escape(cells[place]) if cells[place] else 'None'}"
            spans.append((start, len(text) + 1, place))
        return text, spans

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows that the schema accepts; each starts with a target drawn as in train. SamplingFailed if too few do."""
        self.model.to(self.compute.device)
        with global_seed(seed), progress_bar("great sampling", n) as bar, torch.inference_mode(), self.compute.autocast():
            table, counts = collect_rows(self._batches(n, seed), self.schema, n, self.max_tries, bar)
        self.report |= {"generation": counts}
        return table

    def _batches(self, n: int, seed: int) -> Iterator[list[dict[str, str]]]:
        """Batches of rows, begun and read by be-great; its own loop copies all keys and values at each token."""
        from be_great.great_start import CategoricalStart
        from be_great.great_utils import _convert_text_to_tabular_data

        start = CategoricalStart(self.tokenizer, self._names[self._target], self.starts)
        pad, end = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        size = min(n + 8, 128)
        for first in itertools.count(0, size):
            begun = [[token for token in text if token != pad] for text in start.get_start_tokens(size)]
            written = continue_texts(
                self.model,
                begun,
                warpers=Decoding(temperature=self.temperature, top_k=TOP_K).warpers(),
                streams=[np.random.default_rng(derive_seed(seed, "row", first + row)) for row in range(size)],
                most=self.longest - min(map(len, begun)),
                end=end,
                pad=pad,
                device=self.compute.device,
            )
            whole = [text + answer for text, answer in zip(begun, written, strict=True)]
            texts = self.tokenizer.batch_decode(whole, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            frame = _convert_text_to_tabular_data(texts, self._names)
            yield [self._texts(row) for row in frame.to_dict("records")]

    def _texts(self, row: dict[str, str | None]) -> dict[str, str]:
        """A row's texts by our column names; columns that were not written are left out."""
        pairs = zip(self.schema.names, self._names, strict=True)
        written = {ours: row[theirs] for ours, theirs in pairs if row[theirs] != "placeholder"}
        return {name: "" if text is None else unquote(text) for name, text in written.items()}

    def log_likelihood(self, rows: pd.DataFrame, *, seed: int, own: np.ndarray | None = None) -> np.ndarray:
        """Log-likelihood of every cell in nats, float64, shape (n, c), columns as in the schema.

        A cell is the tokens of its value and of the comma behind it, given the row so far; each row stands in an order
        drawn anew, as in training. The tokens of the names are not scored. Nothing of train is shown, so `own` is not used.
        """
        cells = RowCodec(self.schema).cells(rows)
        rng = np.random.default_rng(derive_seed(seed, "orders"))
        read = [self._placed(row, rng.permutation(len(row)).tolist()) for row in cells]
        return token_log_likelihoods(self.model, read, self.tokenizer.pad_token_id, self.compute)

    def text_log_likelihoods(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Log-likelihood in nats of each token of each text but the first, shape (t - 1,) each."""
        ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        return text_log_likelihoods(self.model, ids, self.tokenizer.pad_token_id, self.compute)

    def _placed(self, cells: Sequence[str], order: Sequence[int]) -> Tokens:
        """A row's tokens, each placed in the column whose value or comma it is part of; the first is a name's."""
        text, spans = self._sentence(cells, order)
        encoded = self.tokenizer(text, return_offsets_mapping=True)
        middles = np.array([(start + end) / 2 for start, end in encoded["offset_mapping"]])
        places = np.full(len(middles), -1)
        for start, end, place in spans:
            places[(middles > start) & (middles < end)] = place
        return Tokens(encoded["input_ids"], places[1:], np.full(len(places) - 1, DONE))

    def save(self, folder: Path) -> None:
        """Weights, tokenizer, and the target's distribution; no row of train."""
        load.save(self.model, self.tokenizer, folder / "model")
        save_schema(self.schema, folder)
        state = {"starts": self.starts, "longest": self.longest, "report": self.report}
        (folder / "method.json").write_text(json.dumps(state))

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        state = json.loads((folder / "method.json").read_text())
        self.schema = load_schema(folder)
        self.model, self.tokenizer = self.backbone.restore(folder / "model")
        self.tokenizer.padding_side = "left"
        self.starts, self.longest, self.report = state["starts"], state["longest"], state["report"]
        return self


def escape(text: str) -> str:
    """A name or value without what would break a sentence, percent-encoded; `urllib.parse.unquote` is the inverse."""
    return UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), text)


class _Given:
    """Stands for a class of Hugging Face while be-great makes its model, and hands out ours."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def from_pretrained(self, *_: Any, **__: Any) -> Any:
        return self.made
