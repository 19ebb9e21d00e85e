"""Row <-> text, and the instruction around rows (HARMONIC §1).

A text is a list of segments: what the format fixes, and the values between. Joined, they are the text as published;
apart, they let a tokenizer never lay a token across the border of a key and a value.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from harmonic.table.constraints import Constraint
from harmonic.table.schema import Column, Schema

RowStyle = Literal["canonical", "published"]
Segments = list[str]

NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MAX_EXAMPLES = len(NUMBER_WORDS)
TASK_PHRASES = {"binary": "binary classification", "multiclass": "multi classification", "regression": "regression"}
HUMAN, ASSISTANT = "Human: \n", "\n\nAssistant: \n"
GENERATE = "\nGenerate one sample: "
ANSWER = ".\nAnswer: "
ASKED = ", The state of "
"""What stands before the second and every further feature's name in a question."""
QUOTE, CLOSE = '"', "}"
"""What ends a value, and what ends a row."""
_CONTROL = re.compile(r"[\x00-\x1f]")
KEPT_ROWS = 65_536
"""Rows whose texts are kept once made: all of a table as small as the benchmark's, some 60 MB of 15 columns."""
TEXT_ROWS = 10_000
"""Rows whose texts are made together where all are wanted in turn."""


class Unreadable(ValueError):
    """A text that is no valid row; `str()` of it is a short reason that can be counted."""

    def __init__(self, reason: str, column: str = "") -> None:
        super().__init__(reason)
        self.column = column
        """Name of the column whose cell is the reason; empty where the whole row is."""


@dataclass(frozen=True)
class RowCodec:
    """Rows of one schema as one-line JSON objects whose values are all quoted strings, target last."""

    schema: Schema
    style: RowStyle = "canonical"
    """canonical: integers without ".0", decimals with the column's places, empty cells as "", JSON escapes.
    published: `str()` of what pandas read from a CSV file ("9.0", "nan"), no escapes."""

    def cells(self, table: pd.DataFrame) -> list[list[str]]:
        """The text of every cell: n rows of c strings, in schema order."""
        columns = [self.texts(column, table[column.name]) for column in self.schema.columns]
        return [list(row) for row in zip(*columns, strict=True)]

    def texts(self, column: Column, values: pd.Series) -> list[str]:
        """The text of each value of one column, length n."""
        if self._is_plain(column):
            return list(map(str, values.tolist()))
        return [self.escape(text) for text in column.write(values)]

    def text(self, column: Column, value: Any) -> str:
        """The text of one value, the same as in `texts`."""
        return str(value) if self._is_plain(column) else self.escape(column.write_one(value))

    def _is_plain(self, column: Column) -> bool:
        """Whether `str()` makes a value's text; a moment's would be none of its format."""
        return self.style == "published" and column.dtype != "datetime64"

    def key(self, place: int, *, first: bool) -> str:
        """What stands before the value of column number `place`, up to and with its opening quote."""
        return f'{"{" if first else ", "}"{self.escape(self.schema.columns[place].name)}": "'

    def row(self, cells: Sequence[str], order: Sequence[int] | None = None) -> Segments:
        """One row as segments key, value, quote, key, …, close; `order` lists column numbers, schema order if not given."""
        places = range(len(self.schema.columns)) if order is None else order
        segments = []
        for rank, place in enumerate(places):
            segments += [self.key(place, first=rank == 0), cells[place], QUOTE]
        return [*segments, CLOSE]

    def escape(self, text: str) -> str:
        """JSON's escapes; the quote by its number, since a bare one in a value would be taken for the value's end."""
        if self.style == "published":
            return text
        return json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', "\\u0022")

    def order(self, rng: np.random.Generator) -> list[int]:
        """A random order of the features, the target last."""
        target = self.schema.names.index(self.schema.target)
        features = [place for place in range(len(self.schema.columns)) if place != target]
        return [*rng.permutation(features).tolist(), target]

    def read(self, text: str) -> dict[str, Any]:
        """The first JSON object of a text as stored values by column name; what stands around it is ignored.

        Raises:
            Unreadable: with the reason: no JSON, a missing or repeated column, a cell its column refuses, a broken rule.
        """
        try:
            pairs, _ = json.JSONDecoder(object_pairs_hook=list).raw_decode(text, text.index("{"))
        except (ValueError, RecursionError):
            raise Unreadable("no JSON object") from None
        if not all(isinstance(value, str) for _, value in pairs):
            raise Unreadable("no flat JSON object of strings")
        names = [name for name, _ in pairs]
        if sorted(names) != sorted(self.schema.names):
            raise Unreadable("repeated columns" if len(set(names)) < len(names) else "missing or unknown columns")
        texts = dict(pairs)
        row = {column.name: self.read_cell(column, texts[column.name]) for column in self.schema.columns}
        for constraint in self._constraints:
            if not constraint.holds(row):
                raise Unreadable(f"breaks {constraint.text}")
        return row

    @cached_property
    def _constraints(self) -> list[Constraint]:
        return [Constraint.of(text, self.schema) for text in self.schema.constraints]

    def read_cell(self, column: Column, text: str) -> Any:
        """The value that an unescaped text stands for; Unreadable where the column refuses it."""
        if self.style == "published":
            if text in ("nan", "None", "NaT"):
                text = ""
            elif column.kind == "integer":
                text = text.removesuffix(".0")
        try:
            return column.read(text)
        except ValueError as error:
            raise Unreadable(f"{column.name}: {error}", column.name) from None


class RowTexts(Sequence[Sequence[str]]):
    """The texts of a table's rows, `RowCodec.cells` made when a row is asked for: a million rows as text take gigabytes.

    Args:
        codec: row to text.
        table: n rows of its schema.
    """

    def __init__(self, codec: RowCodec, table: pd.DataFrame) -> None:
        self._codec, self._table = codec, table
        self._columns = [(column, table[column.name].array) for column in codec.schema.columns]
        self._row = lru_cache(KEPT_ROWS)(self._make)

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, row: int) -> Sequence[str]: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[Sequence[str]]: ...

    def __getitem__(self, row: int | slice) -> Sequence[str] | Sequence[Sequence[str]]:
        """The cells of a row in schema order, or those of several rows."""
        return self._codec.cells(self._table.iloc[row]) if isinstance(row, slice) else self._row(int(row))

    def __iter__(self) -> Iterator[Sequence[str]]:
        for start in range(0, len(self), TEXT_ROWS):
            yield from self[start : start + TEXT_ROWS]

    def _make(self, row: int) -> tuple[str, ...]:
        return tuple(self._codec.text(column, values[row]) for column, values in self._columns)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Characters of each cell, int32, shape (n, c)."""
        found = np.empty((len(self), len(self._columns)), dtype=np.int32)
        for place, (column, _) in enumerate(self._columns):
            values = self._table[column.name]
            if column.categories and column.dtype in ("str", "bool"):
                codes, _ = pd.factorize(values, use_na_sentinel=False)
                first = np.unique(codes, return_index=True)[1]
                found[:, place] = np.array(list(map(len, self._codec.texts(column, values.iloc[first]))))[codes]
                continue
            for start in range(0, len(self), TEXT_ROWS):
                rows = slice(start, start + TEXT_ROWS)
                found[rows, place] = list(map(len, self._codec.texts(column, values.iloc[rows])))
        return found


@dataclass(frozen=True)
class Instruction:
    """A prompt and the answer the model is to learn."""

    prompt: Segments
    answer: Segments


def introduction(schema: Schema, k: int) -> str:
    """The first paragraph of an instruction."""
    description = f" about {on_one_line(schema.description)}" if schema.description else ""
    return (
        f"Here are {k} tabular data{description}, each containing {len(schema.columns) - 1} columns of features and "
        f"1 column of labels, where the {on_one_line(schema.target)} column is a {TASK_PHRASES[schema.task]} label. I "
        f"will transmit the data to you in JSON format. Please generate an approximate sample based on these {k} examples."
    )


def instruction(schema: Schema, examples: Sequence[Segments]) -> Segments:
    """The instruction for these example rows (1 to MAX_EXAMPLES), as published."""
    segments = [introduction(schema, len(examples))]
    for word, row in zip(NUMBER_WORDS, examples, strict=False):
        segments += [f"\nExample {word}: ", *row]
    return [*segments, GENERATE]


def wrap(segments: Segments) -> Segments:
    """The instruction in the dialogue form the model is fine-tuned on; the answer follows at once."""
    return [HUMAN, *segments, ASSISTANT]


def question(sentence: str, schema: Schema, cells: Sequence[str], order: Sequence[int] | None = None) -> Segments:
    """A row's features as the question that LLE asks (HARMONIC §3); the answer, the target's text, follows.

    A cell that spells the words before a feature has their comma by its number, so that no other cells give this text.

    Args:
        sentence: the task, as in "Evaluate the creditworthiness … \nText: ".
        schema: of the row.
        cells: its texts, in schema order.
        order: column numbers; schema order if not given. The target is left out wherever it stands.
    """
    target = schema.names.index(schema.target)
    places = [place for place in (range(len(schema.columns)) if order is None else order) if place != target]
    segments = [sentence]
    for rank, place in enumerate(places):
        cell = cells[place].replace(ASKED, f"\\u002c{ASKED[1:]}")
        segments += [question_key(schema.columns[place], first=rank == 0), cell]
    return [*segments, ANSWER]


def question_key(column: Column, *, first: bool) -> str:
    """What stands before a value in a question."""
    return f"{ASKED[2:] if first else ASKED}{on_one_line(column.name)} is "


def on_one_line(text: str) -> str:
    """A name as prose holds it: control characters by their JSON escapes, so that a line begins where a template says."""
    return _CONTROL.sub(lambda found: json.dumps(found.group())[1:-1], text)


def frequent_segments(codec: RowCodec, k: int) -> list[str]:
    """Segments that a tokenizer of our own should hold as one token each: what the format fixes, and named categories.

    Categories that look like numbers stay digits; those beyond ASCII stay bytes, which a byte-level decoder needs.
    """
    keys = [codec.key(place, first=first) for first in (True, False) for place in range(len(codec.schema.columns))]
    prose = [introduction(codec.schema, k), GENERATE, HUMAN, ASSISTANT]
    categories = [codec.escape(text) for column in codec.schema.columns for text in column.categories]
    named = [text for text in categories if text.isascii() and any(map(str.isalpha, text))]
    return [QUOTE, CLOSE, *keys, *prose, *(f"\nExample {word}: " for word in NUMBER_WORDS[:k]), *named]
