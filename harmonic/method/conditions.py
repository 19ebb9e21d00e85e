"""Rows of which some cells are known: what is kept, in which order the rest is drawn, and which examples are shown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harmonic.codec import RowCodec
from harmonic.errors import BadInput
from harmonic.method.examples import Source
from harmonic.table import coerce, with_columns
from harmonic.table.constraints import Constraint
from harmonic.table.encoding import Encoder
from harmonic.table.schema import Schema

CANDIDATES = 2000
"""Groups among which the nearest are looked for, drawn anew for each row, so that no cost grows with rows x rows."""
NEAREST = 5
"""An anchor is one of so many nearest, so that equal conditions are not shown equal examples."""


def check_rules(rows: pd.DataFrame, schema: Schema, source: str, among: np.ndarray | None = None) -> None:
    """Raise BadInput where what is known of a row breaks a rule, whatever the rest will be.

    Args:
        rows: n rows, all columns, unknown cells empty.
        schema: theirs, with the rules.
        source: how an error names the rows.
        among: which of them are looked at, bool, shape (n,); all of them if not given.
    """
    wanted = np.ones(len(rows), dtype=bool) if among is None else among
    for constraint in (Constraint.of(text, schema) for text in schema.constraints):
        names = [column.name for column in constraint.columns.values()]
        known = rows[names].notna().all(axis=1).to_numpy() & wanted
        for number, row in zip(np.flatnonzero(known), rows[known].to_dict("records"), strict=True):
            if not constraint.holds(row):
                raise BadInput(f"{source}, row {number + 1}, must obey {constraint.text!r}, but breaks it: correct it.")


@dataclass(frozen=True)
class Conditions:
    """Rows with known and unknown cells."""

    rows: pd.DataFrame
    """All columns of the schema, unknown cells empty."""
    known: np.ndarray
    """bool, shape (n, c)."""
    texts: list[list[str]]
    """The text of every cell; that of an unknown one means nothing."""

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, given: pd.DataFrame, codec: RowCodec, source: str) -> "Conditions":
        """Take a table of some columns; its empty cells are unknown.

        Raises:
            BadInput: a column that the data set lacks, or a value that its column cannot hold.
        """
        schema = codec.schema
        unknown = [str(name) for name in given.columns if name not in schema.names]
        if unknown or not len(given):
            found = f"found {', '.join(unknown)}" if unknown else "found no row"
            raise BadInput(f"{source} must hold rows of some of the columns {', '.join(schema.names)}, but {found}.")
        lacking = {name: None for name in schema.names if name not in given}
        rows = coerce(with_columns(given, lacking), schema.with_holes, source)
        known = rows.notna().to_numpy()
        texts = np.full(known.shape, "", dtype=object)
        for place, column in enumerate(schema.columns):
            values = rows[column.name][known[:, place]]
            values = values.astype(column.dtype) if column.dtype in ("int64", "float64", "bool") else values
            texts[known[:, place], place] = codec.texts(column, values)
            for text in dict.fromkeys(texts[known[:, place], place]):
                try:
                    codec.read_cell(column, json.loads(f'"{text}"'))
                except ValueError as reason:  # Unreadable, or no JSON in the published style
                    raise BadInput(
                        f"{source} must hold what train's columns could, but {text!r} is refused ({reason})."
                    ) from None
        return cls(rows, known, texts.tolist())

    def order(self, row: int, schema: Schema, order: list[int], *, target_last: bool) -> list[int]:
        """The columns in the order in which they are written: the known ones first, each part as in `order`.

        A known target comes first of all, or last, as in training, where the examples tell it: all of its class.
        """
        target = schema.names.index(schema.target)
        features = [place for place in order if place != target]
        sorted_features = sorted(features, key=lambda place: not self.known[row, place])
        if self.known[row, target] and not target_last:
            return [target, *sorted_features]
        return [*sorted_features, target]

    def anchors(
        self, source: Source, encoder: Encoder, streams: Sequence[np.random.Generator], *, within_class: bool
    ) -> np.ndarray:
        """For each row the number of a group whose answer is near in the known columns, int64, shape (n,).

        Args:
            source: the groups to choose from.
            encoder: fitted on train.
            streams: of each row's choice, so that no row's hangs on another's.
            within_class: groups of the row's class alone, where it is known.
        """
        groups, schema = source.groups, encoder.schema
        mine, theirs = encoder.encode(self.rows), encoder.encode(source.rows)
        labels, wanted = encoder.target(source.rows)[groups.anchors], encoder.target(self.rows)
        numeric = [schema.names.index(name) for name in encoder.numeric]
        others = [place for place, name in enumerate(schema.names) if name not in encoder.numeric]
        target = schema.names.index(schema.target)
        found = np.empty(len(self), dtype=np.int64)
        for row in range(len(self)):
            pool = np.arange(len(groups))
            if within_class and self.known[row, target] and (labels == wanted[row]).any():
                pool = np.flatnonzero(labels == wanted[row])
            pool = streams[row].permutation(pool)[:CANDIDATES]
            rows = groups.anchors[pool]
            apart = np.nan_to_num(np.abs(theirs.numbers[rows] - mine.numbers[row]), nan=1.0) @ self.known[row, numeric]
            apart += (theirs.codes[rows] != mine.codes[row]) @ self.known[row, others].astype(np.float64)
            found[row] = pool[streams[row].choice(np.argsort(apart, kind="stable")[:NEAREST])]
        return found

    def keep(self, drawn: pd.DataFrame, schema: Schema) -> pd.DataFrame:
        """The drawn rows with the known cells as they were given."""
        columns = {
            name: drawn[name].astype(object).where(~self.known[:, place], self.rows[name].astype(object))
            for place, name in enumerate(schema.names)
        }
        return schema.restore_dtypes(pd.DataFrame(columns))
