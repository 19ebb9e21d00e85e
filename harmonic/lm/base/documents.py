"""What the base model reads: tables of the prior as instructions and as questions, in the method's own words.

A document is one instruction with its answer (`harmonic.codec`), or several questions about one table. Its tokens know what
they are part of, so that a loss can be told apart by key, category and number, and by first row and later rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pandas as pd

from harmonic import codec as text
from harmonic.codec import Instruction, RowCodec, Segments
from harmonic.lm.base import names
from harmonic.lm.base.prior import Generator, Ranges, draw_table
from harmonic.lm.vocabulary import EOS, free_slots
from harmonic.neighbours import nearest
from harmonic.table import schema_of
from harmonic.table.encoding import Encoder
from harmonic.table.schema import DISCRETE_KINDS, Column

FIXED = (
    *(text.QUOTE, text.CLOSE, text.GENERATE, text.HUMAN, text.ASSISTANT, text.ANSWER),
    *(f"\nExample {word}: " for word in text.NUMBER_WORDS),
)
"""What the format fixes for every table: a token each."""
EXAMPLES = {1: 2, 2: 2, 3: 3, 4: 3, 5: 7, 6: 2, 7: 1, 8: 2}
"""How often an instruction has so many examples."""


class Part(IntEnum):
    """What a token is part of."""

    FORMAT = 0
    """Prose, quotes, brackets, end of sequence."""
    KEY = 1
    CATEGORY = 2
    """A value of a category or boolean column."""
    NUMBER = 3
    """A value of an integer, decimal or datetime column."""


@dataclass(frozen=True)
class Document:
    """A text in tokens."""

    tokens: np.ndarray
    """int32, shape (t,)."""
    parts: np.ndarray
    """`Part` of each token, int8, shape (t,)."""
    rows: np.ndarray
    """Row of each token, int8, shape (t,): 0 is the prose and the first row, 1 and up the later ones."""
    bound: np.ndarray
    """Slots that are bound to something of the document's table, int64, shape (s,)."""

    def __len__(self) -> int:
        return len(self.tokens)


Binding = Mapping[str, list[int]]


class Reader:
    """Segments to tokens under a base tokenizer, some of them bound to slots."""

    def __init__(self, tokenizer: Any) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.slots = np.array(free_slots(tokenizer), dtype=np.int64)
        self.known: dict[str, list[int]] = {}

    def bind(self, rng: Generator, segments: Sequence[str]) -> Binding:
        """Random slots for segments that are no token yet, as far as the slots go; ends of segments stay what they are."""
        free = [segment for segment in dict.fromkeys(segments) if self.backend.token_to_id(segment) is None]
        return {segment: [int(slot)] for segment, slot in zip(free, rng.permutation(self.slots), strict=False)}

    def read(self, segments: Segments, keys: Mapping[str, Column], binding: Binding) -> Document:
        """A document.

        Args:
            segments: its text.
            keys: the segments behind which a value of that column stands.
            binding: segments to tokens of their own.
        """
        if len(self.known) > 50_000:  # numbers are endless
            self.known.clear()
        tokens: list[int] = []
        marks: list[tuple[int, int]] = []
        row, column = 0, None
        for segment in segments:
            ids = binding.get(segment) or self.known.get(segment)
            if ids is None:
                ids = self.known[segment] = self.backend.encode(segment, add_special_tokens=False).ids
            part = Part.FORMAT if column is None else Part.CATEGORY if column.kind in DISCRETE_KINDS else Part.NUMBER
            after, column = column, None
            if after is None and segment in keys:
                part, column = Part.KEY, keys[segment]
            tokens += ids
            marks += [(part, row)] * len(ids)
            row += after is None and segment in (text.CLOSE, EOS)
        parts, rows = np.array(marks, dtype=np.int8).T
        bound = np.array([slot for slots in binding.values() for slot in slots], dtype=np.int64)
        return Document(np.array(tokens, dtype=np.int32), parts, rows, bound)


def row_keys(codec: RowCodec) -> dict[str, Column]:
    """What stands before a value in an instruction, and the value's column."""
    return {
        codec.key(place, first=first): column for place, column in enumerate(codec.schema.columns) for first in (True, False)
    }


def table_documents(rng: Generator, reader: Reader, ranges: Ranges, count: int) -> Iterator[Document]:
    """`count` instructions about one random table or, for one table in eight, one document of questions."""
    table = draw_table(rng, ranges)
    codec = RowCodec(schema_of(table), "published" if rng.random() < 0.08 else "canonical")
    if rng.random() < 0.125:
        yield _questions(rng, reader, codec, table)
        return
    k = int(rng.choice(list(EXAMPLES), p=np.array(list(EXAMPLES.values())) / sum(EXAMPLES.values())))
    keys = row_keys(codec)
    binding = reader.bind(rng, _some(rng, text.frequent_segments(codec, k)))
    for item in _instructions(rng, codec, table, k, count):
        yield reader.read([*item.prompt, *item.answer, EOS], keys, binding)


def _some(rng: Generator, segments: Sequence[str]) -> list[str]:
    """What gets a slot: mostly all of it, now and then half of it or nothing."""
    share = rng.choice([1.0, 0.5, 0.0], p=[0.75, 0.12, 0.13])
    return [segment for segment in segments if rng.random() < share]


def _instructions(rng: Generator, codec: RowCodec, table: pd.DataFrame, k: int, count: int) -> Iterator[Instruction]:
    anchors = rng.choice(len(table), count, replace=False)
    if rng.random() < 0.8:
        shown = neighbours_of(table, anchors, k, within_class=rng.random() < 0.6)
    else:
        shown = np.array([rng.choice(np.delete(np.arange(len(table)), anchor), k, replace=False) for anchor in anchors])
    shuffled, wrapped = rng.random() < 0.7, rng.random() < 0.9
    for anchor, examples in zip(anchors, shown, strict=True):
        order = codec.order(rng) if shuffled else None
        *rows, answer = (codec.row(cells, order) for cells in codec.cells(table.iloc[[*examples, anchor]]))
        prompt = text.instruction(codec.schema, rows)
        yield Instruction(text.wrap(prompt) if wrapped else prompt, answer)


def neighbours_of(table: pd.DataFrame, anchors: np.ndarray, k: int, *, within_class: bool) -> np.ndarray:
    """The k nearest other rows of each anchor, int64 (m, k); of its own class, where that has more than k rows."""
    schema = schema_of(table)
    encoder = Encoder.fit(table, schema)
    encoded, labels = encoder.encode(table), encoder.target(table)
    found = np.empty((len(anchors), k), dtype=np.int64)
    for place, anchor in enumerate(anchors):
        pool = np.flatnonzero(labels == labels[anchor])
        if not within_class or schema.task == "regression" or len(pool) <= k:
            pool = np.arange(len(table))
        pool = pool[pool != anchor]
        found[place] = pool[nearest(encoded[anchor : anchor + 1], encoded[pool], k)[1][0]]
    return found


def _questions(rng: Generator, reader: Reader, codec: RowCodec, table: pd.DataFrame) -> Document:
    """LLE's questions about a few rows of one table, each with its answer."""
    schema = codec.schema
    target = schema.names.index(schema.target)
    words = schema[schema.target].categories
    said = dict(zip(words, names.answers(rng, len(words)), strict=True)) if rng.random() < 0.7 else {}
    choices = ", ".join(f"'{said.get(word, word)}'" for word in words[:-1]) + (
        f" or '{said.get(words[-1], words[-1])}'" if words else ""
    )
    task = f"Respond with only either {choices}." if words else "Respond with only a number."
    sentence = f"Predict the {schema.target} of one of the {schema.description or 'rows'}. {task} \nText: "
    order = codec.order(rng) if rng.random() < 0.5 else None
    segments: Segments = []
    for cells in codec.cells(table.iloc[rng.choice(len(table), int(rng.integers(3, 10)), replace=False)]):
        answer = said.get(cells[target], cells[target])
        segments += [*text.wrap(text.question(sentence, schema, cells, order)), answer, EOS]
    keys = {text.question_key(column, first=first): column for column in schema.features for first in (True, False)}
    keys[text.ASSISTANT] = schema[schema.target]
    named = [*said.values(), *text.frequent_segments(codec, 1)]
    return reader.read(segments, keys, reader.bind(rng, _some(rng, [sentence, *keys, *named])))


def training_texts(seed: int, tables: int) -> Iterator[str]:
    """Segments of many tables, for the tokenizer to learn merges from; what is fixed for every table is left out."""
    for number in range(tables):
        rng = np.random.default_rng([seed, number])
        table = draw_table(rng)
        for item in _instructions(rng, RowCodec(schema_of(table)), table, 2, 2):
            yield from (segment for segment in (*item.prompt, *item.answer) if segment not in FIXED)
