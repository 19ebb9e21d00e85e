"""Leakage as published: differences of perplexities, in both readings of the paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harmonic.codec import RowCodec
from harmonic.errors import check_count
from harmonic.metrics.rows import check_rows, draw_rows
from harmonic.seed import derive_seed
from harmonic.table import Split
from harmonic.table.schema import Schema


@dataclass(frozen=True)
class PublishedDataLeakageTest:
    """The data leakage test (DLT) as published: a difference of the generator's mean perplexities.

    Definition. A row is the text `column value, column value, ….` of all its columns in an order drawn anew, values as
    pandas prints them. Its perplexity is 2 to the power of its mean negative log-likelihood in *nats* over the tokens but
    the first, as the published code has it; a table's is the mean over at most `max_rows` rows drawn with the seed.

    * `dlt_published_train_test`: perplexity of train less that of `split.test`.
    * `dlt_published_real_synthetic`: perplexity of train less that of the synthetic table. Which of the two the paper means
      is not stated in what could be read; both are given.
    * `dlt_published_train`, `dlt_published_test`, `dlt_published_synthetic`: the perplexities.

    Nearer to 0 is better, in the paper's reading, and negative means leakage. The size depends on the tokenizer, so figures
    of two models do not compare: the paper's range from -.16 to -163.71.

    What it cannot see: beyond what the corrected form cannot, nearly everything, since no method is trained on this text
    form, and a few rows of great perplexity decide the mean. A method without `text_log_likelihoods` has no score: the
    result is empty.

    Source: Wang et al. 2024 (HARMONIC), DLT ("PPL-diff"), as its public code computes it.
    """

    max_rows: int = 1000
    """Rows of each table that are scored."""

    def __post_init__(self) -> None:
        check_count("metrics.dlt_published.max_rows", self.max_rows, 1)

    def __call__(self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: Any = None) -> dict[str, float]:
        """Differences and perplexities by key; see the class."""
        rows = check_rows(split, synthetic, "dlt_published")
        if not hasattr(synthesizer, "text_log_likelihoods"):
            return {}
        seed = derive_seed(seed, "dlt_published")
        means = {
            name: float(
                _perplexities(
                    synthesizer, draw_rows(table, self.max_rows, derive_seed(seed, name)), split.schema, seed
                ).mean()
            )
            for name, table in (("train", split.train), ("test", split.test), ("synthetic", rows))
        }
        return {
            "dlt_published_train_test": means["train"] - means["test"],
            "dlt_published_real_synthetic": means["train"] - means["synthetic"],
            **{f"dlt_published_{name}": mean for name, mean in means.items()},
        }


def _perplexities(synthesizer: Any, table: pd.DataFrame, schema: Schema, seed: int) -> np.ndarray:
    """Of each row, float64, shape (n,)."""
    rng = np.random.default_rng(seed)
    cells = RowCodec(schema, "published").cells(table)
    texts = [published_text(schema.names, row, rng.permutation(len(row))) for row in cells]
    return np.array([2.0 ** -nats.mean() for nats in synthesizer.text_log_likelihoods(texts)])


def published_text(names: Sequence[str], cells: Sequence[str], order: Sequence[int] | np.ndarray) -> str:
    """A row as the published code gives it to the model, its columns in this order."""
    return ", ".join(f"{names[place]} {cells[place]}" for place in order) + "."
