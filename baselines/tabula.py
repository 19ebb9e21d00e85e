"""TabuLa: a small language model from random weights, with short tokens for what a table repeats (Zhao et al., 2023)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from harmonic.budget import Budget, check_budget, check_minutes, settle
from harmonic.codec import GENERATE, Instruction, RowCodec, Segments, frequent_segments
from harmonic.lm import load
from harmonic.lm.batches import Training, plan_batches
from harmonic.lm.decoding import Decoding, Limits, Prompt, Writer
from harmonic.lm.grammar import Grammar
from harmonic.lm.likelihood import Scored, cell_log_likelihoods, text_log_likelihoods
from harmonic.lm.module import VERSION, fine_tune
from harmonic.lm.sampler import sample_rows
from harmonic.lm.segments import SegmentEncoder
from harmonic.seed import derive_seed
from harmonic.table import coerce, load_schema, save_schema, schema_of
from harmonic.table.schema import Schema
from harmonic.training import Compute, loss_curve


@dataclass(frozen=True)
class Recipe:
    """The model's size and how long it is trained."""

    hidden_size: int = 128
    layers: int = 4
    heads: int = 2
    mlp_size: int = 344
    epochs: int = 1
    min_steps: int = 0
    max_steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 3e-3

    @property
    def training(self) -> Training:
        """For `fine_tune`."""
        names = ("epochs", "min_steps", "max_steps", "batch_size", "learning_rate")
        return Training(loss_on="all", warmup=0.05, weight_decay=0.01, **{name: getattr(self, name) for name in names})


BUDGETS: dict[Budget, Recipe] = {
    "smoke": Recipe(64, 2, 2, 172, epochs=100, max_steps=300, batch_size=16, learning_rate=5e-3),
    "default": Recipe(epochs=3, min_steps=400),
    "published": Recipe(768, 6, 12, 3072, epochs=400, learning_rate=5e-5),
}
"""Published is distilgpt2's size and the 400 epochs that the authors give 1 338 rows of insurance; they give adult 50."""


class Tabula:
    """TabuLa's idea on our own language model: no pre-trained weights, a token for each name and each category, one order.

    Differs from the paper: rows are our one-line JSON, the architecture is Llama's, and values are not padded to one length;
    the rate warms up and falls along a cosine, with some weight decay; rows begin with nothing, and any token can be drawn,
    where theirs begin with a value of one column and go on with one of the 50 likeliest tokens.

    Args:
        budget: smoke, default or published, see `BUDGETS`.
        epochs: instead of the budget's.
        max_minutes: end training after this long.
        decoding: how rows are written; as published freely, at a temperature of .7, and dropped where they do not obey.
        compute: device, precision, checkpoints.
    """

    version = VERSION

    @property
    def sampling_version(self) -> int | None:
        """Of how rows are written."""
        return self.decoding.version

    def __init__(
        self,
        budget: Budget | None = None,
        epochs: int | None = None,
        max_minutes: float | None = None,
        decoding: Decoding | None = None,
        compute: Compute | None = None,
    ) -> None:
        self.budget, self.epochs, self.max_minutes = check_budget(budget), epochs, check_minutes(max_minutes)
        self.recipe = settle(budget, BUDGETS, epochs=epochs)
        if epochs is not None:
            self.recipe = replace(self.recipe, min_steps=0, max_steps=None)
        self.decoding = decoding or Decoding(form="free", temperature=0.7)
        self.compute = compute or Compute()
        self.report: dict[str, Any] = {}

    @property
    def _backbone(self) -> load.Scratch:
        recipe = self.recipe
        return load.Scratch(recipe.hidden_size, recipe.layers, recipe.heads, recipe.mlp_size, training=recipe.training)

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Train from random weights; a run that was killed resumes from `work_dir`."""
        self._take(schema_of(train))
        cells = self.codec.cells(train)
        values = (text for row in cells for text in row)
        segments = frequent_segments(self.codec, 1)
        self.model, tokenizer = self._backbone.create(values, segments, derive_seed(seed, "weights"))
        self.encoder = SegmentEncoder(tokenizer)
        lengths = np.array([len(self.encoder.encode(self.codec.row(row))) for row in cells])
        longest = max(len(self.encoder.encode([text])) for row in cells for text in row)
        self.limits = Limits(row=int(1.25 * lengths.max()) + 2, value=int(1.25 * longest) + 2)
        batches = plan_batches(lengths, self.recipe.training, derive_seed(seed, "batches"))
        losses, run = fine_tune(
            self.model,
            self.encoder,
            batches,
            lambda _, number: Instruction([GENERATE], self.codec.row(cells[number])),
            self.recipe.training,
            self.compute,
            seed=derive_seed(seed, "dropout"),
            work_dir=work_dir,
            max_minutes=self.max_minutes,
        )
        self.report = {"recipe": asdict(self.recipe), **run.report(self.max_minutes), "losses": loss_curve(losses)}
        return self

    def _take(self, schema: Schema) -> None:
        self.schema, self.codec = schema, RowCodec(schema)

    @property
    def _keys(self) -> Segments:
        return [self.codec.key(place, first=place == 0) for place in self._places]

    @property
    def _places(self) -> list[int]:
        return list(range(len(self.schema.columns)))

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """Exactly n rows the schema accepts, or SamplingFailed; a run that was killed resumes from `work_dir`."""
        grammar = Grammar.compile(self.codec, self.encoder) if self.decoding.form == "valid" else None
        writer = Writer(self.model, self.encoder, self.limits, self.decoding, self.compute.device, seed, grammar)
        prompt = Prompt([GENERATE], self._keys, self._places)
        generation = sample_rows(writer, lambda _: prompt, self.codec.read, n, compute=self.compute, work_dir=work_dir)
        self.report |= {"generation": generation.counts(), "tokens_sample": generation.tokens}
        return coerce(pd.DataFrame(generation.rows, columns=self.schema.names), self.schema, "the generated rows")

    def log_likelihood(self, rows: pd.DataFrame, *, seed: int, own: np.ndarray | None = None) -> np.ndarray:
        """Log-likelihood of every cell in nats, float64, shape (n, c), columns as in the schema.

        A cell is its value and the quote that ends it, given the columns before it. Nothing is drawn and nothing of train
        is shown, so `seed` and `own` are not used.
        """
        cells = self.codec.cells(rows)

        def scored(number: int) -> Scored:
            return Scored([GENERATE], self._keys, cells[number], self._places)

        return cell_log_likelihoods(self.model, self.encoder, scored, len(rows), self.compute)

    def text_log_likelihoods(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Log-likelihood in nats of each token of each text but the first, shape (t - 1,) each."""
        ids = [self.encoder.encode([text]) for text in texts]
        return text_log_likelihoods(self.model, ids, self.encoder.tokenizer.pad_token_id, self.compute)

    def save(self, folder: Path) -> None:
        """Weights and tokenizer, whose tokens are learnt from train's values; no row of train."""
        load.save(self.model, self.encoder.tokenizer, folder / "model")
        save_schema(self.schema, folder)
        (folder / "method.json").write_text(json.dumps({"limits": asdict(self.limits), "report": self.report}))

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        state = json.loads((folder / "method.json").read_text())
        self._take(load_schema(folder))
        self.model, tokenizer = self._backbone.restore(folder / "model")
        self.encoder = SegmentEncoder(tokenizer)
        self.limits, self.report = Limits(**state["limits"]), state["report"]
        return self
