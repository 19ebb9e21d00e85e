"""Distance as published: one mean, and SDMetrics' share of new rows, each beside the real hold-out's."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from harmonic.errors import check_count
from harmonic.metrics.rows import check_rows, draw_rows
from harmonic.neighbours import closest
from harmonic.seed import derive_seed
from harmonic.table import Split
from harmonic.table.encoding import Encoder
from harmonic.table.schema import Schema


@dataclass(frozen=True)
class PublishedDistanceToClosestRecord:
    """Distance to the closest record (DCR) as published: one mean, to be read beside the real hold-out's.

    Definition. `dcr_published` is the mean over the synthetic rows of the L1 distance to the nearest train row, where
    columns stored as numbers, category codes and labels among them, are divided by train's range and every other column
    is one-hot, so that a mismatch costs 2; target included. `dcr_published_holdout` is the same for `split.test`. Range:
    0 and more. The paper takes greater for better; beyond the hold-out's value it only says that rows are off the
    distribution. Measured for the paper's test rows: german 5.18, adult .63, diabetes .40, buddy .34.

    What it cannot see: a share of exact copies among far rows (it is a mean), which of leak and bad fit moved it, and any
    order of magnitude between columns: a category weighs 2, a number at most 1.

    Source: Wang et al. 2024 (HARMONIC), DCR; the definition is inferred from its table, whose SMOTE values it reproduces
    (the code in its repository computes another one).
    """

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """The two means; see the class."""
        synthetic = check_rows(split, synthetic, "dcr_published")
        encoder = Encoder.fit(split.train, split.schema, as_published=True)
        train = encoder.encode(split.train)
        tables = {"dcr_published": synthetic, "dcr_published_holdout": split.test}
        return {key: float(closest(encoder.encode(table), train, mismatch=2.0)[0].mean()) for key, table in tables.items()}


@dataclass(frozen=True)
class PublishedNewRowSynthesis:
    """New row synthesis (NRS) as published: SDMetrics' `NewRowSynthesis` against train.

    Definition. `nrs_published` is the share of synthetic rows without a match in train, where numbers match within 1 % of
    the synthetic value (so 0 matches 0 alone) and categories match exactly; text columns are left out.
    `nrs_published_holdout` is the same for `split.test`. Range: 0 to 1; greater is better up to the hold-out's value.
    SDMetrics runs one query a row, 10 to 20 ms each on Adult: of larger tables, `max_rows` and `holdout_rows` rows drawn
    with the seed are looked at. A share of .95 then has a standard error of .002, and that of the hold-out .007.

    What it cannot see: what the corrected form cannot, and how near a match must be, which depends on each number's size.

    Source: Wang et al. 2024 (HARMONIC), NRS; SDMetrics, `sdmetrics.single_table.NewRowSynthesis`.
    """

    max_rows: int = 10000
    """Synthetic rows that are looked at, at most."""
    holdout_rows: int = 1000
    """Rows of `split.test` the reference is measured on, at most."""

    def __post_init__(self) -> None:
        for option in ("max_rows", "holdout_rows"):
            check_count(f"metrics.nrs_published.{option}", getattr(self, option), 1)

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """The two shares; see the class."""
        synthetic = check_rows(split, synthetic, "nrs_published")
        seed = derive_seed(seed, "nrs_published")
        tables = {
            "nrs_published": draw_rows(synthetic, self.max_rows, seed),
            "nrs_published_holdout": draw_rows(split.test, self.holdout_rows, seed),
        }
        return {key: _sdmetrics_new_rows(table, split.train, split.schema) for key, table in tables.items()}


def _sdmetrics_new_rows(table: pd.DataFrame, train: pd.DataFrame, schema: Schema) -> float:
    from sdmetrics.single_table import NewRowSynthesis as SDMetricsNewRowSynthesis

    # SDMetrics writes column names into queries, which not every name survives: it gets numbers for names.
    names = {name: f"c{place}" for place, name in enumerate(schema.names)}
    kinds = {"integer": "numerical", "decimal": "numerical", "category": "categorical", "text": "text"}
    columns: dict[str, dict[str, Any]] = {}
    for column in schema.columns:
        columns[names[column.name]] = {"sdtype": kinds.get(column.kind, column.kind)}
        if column.kind == "datetime":
            columns[names[column.name]]["datetime_format"] = column.datetime_format
    tables = [frame[schema.names].rename(columns=names).reset_index(drop=True) for frame in (train, table)]
    return float(SDMetricsNewRowSynthesis.compute(*tables, metadata={"columns": columns}))
