"""What the base model reads. Oracles: the method's own texts, tags set by hand, and the questions as published."""

import numpy as np
import pandas as pd
import pytest

from harmonic import codec as text
from harmonic.codec import RowCodec
from harmonic.lm.base.documents import FIXED, Part, Reader, neighbours_of, row_keys, table_documents, training_texts
from harmonic.lm.base.prior import Ranges, draw_table
from harmonic.lm.vocabulary import EOS, SLOT, base_tokenizer, free_slots
from harmonic.table import schema_of


@pytest.fixture(scope="module")
def tokenizer():
    return base_tokenizer(training_texts(0, 20), FIXED, 400, 200)


@pytest.fixture(scope="module")
def reader(tokenizer):
    return Reader(tokenizer)


def drawn(reader, count=40, ranges=None):
    for seed in range(count):
        yield from table_documents(np.random.default_rng(seed), reader, ranges or Ranges(rows=(48, 80)), 3)


def test_tags_of_a_row(reader, easy_codec, easy_table):
    """Oracle: tags set by hand, for two rows of one number, one category and one date."""
    keys = row_keys(easy_codec)
    order = [0, 2, 4]
    segments = ["Prose", *(s for cells in easy_codec.cells(easy_table.iloc[:2]) for s in easy_codec.row(cells, order)), EOS]
    binding = {key: [number] for number, key in enumerate(keys, start=500)}
    document = reader.read(segments, keys, binding)
    prose = len(reader.backend.encode("Prose").ids)
    size, label, day = 2, len(reader.backend.encode("no").ids), 10
    f, k, c, n = Part
    row = [k, *[n] * size, f, k, *[c] * label, f, k, *[n] * day, f, f]
    second = [*row[: 2 + size + 1], *[c] * len(reader.backend.encode("yes").ids), *row[3 + size + label :]]
    assert document.parts.tolist() == [*[f] * prose, *row, *second, f]
    assert document.rows.tolist() == [*[0] * (prose + len(row)), *[1] * len(second), 2]


def test_a_value_that_looks_like_the_format_is_a_value(reader, easy_codec):
    """Oracle: where it stands: behind a key comes a value, be it the text that ends a row."""
    key = next(iter(row_keys(easy_codec)))
    document = reader.read([key, text.CLOSE, text.QUOTE, text.CLOSE, EOS], row_keys(easy_codec), {key: [500]})
    assert document.parts.tolist() == [Part.KEY, Part.NUMBER, Part.FORMAT, Part.FORMAT, Part.FORMAT]
    assert document.rows.tolist() == [0, 0, 0, 0, 1]


def test_documents_are_texts_of_the_method(reader, tokenizer):
    """Oracle: decoded, an unbound document holds the published words, and every document ends where a text ends."""
    slots = set(free_slots(tokenizer))
    unbound = questions = 0
    for document in drawn(reader):
        assert document.tokens[-1] == tokenizer.eos_token_id
        assert len(document.tokens) == len(document.parts) == len(document.rows)
        words = tokenizer.decode(document.tokens.tolist())
        questions += text.ANSWER in words
        if text.ANSWER not in words:
            assert words.count("Example ") == document.rows.max() - 1
            assert text.GENERATE in words
        if not slots & set(document.tokens.tolist()):
            unbound += 1
            assert "Here are " in words or "The state of " in words
    assert questions >= 2
    assert unbound >= 5


def test_bindings_are_random_and_distinct(reader):
    """Oracle: sets: no slot stands for two texts, and two tables share their bindings by chance alone."""
    names = [f"name {place}" for place in range(150)]
    one, other = (reader.bind(np.random.default_rng(seed), [*names, text.QUOTE]) for seed in (0, 1))
    assert text.QUOTE not in one
    assert len({slot for (slot,) in one.values()}) == len(names)
    assert sum(one[name] == other[name] for name in names) < 10
    assert len(reader.bind(np.random.default_rng(0), [f"name {place}" for place in range(999)])) == len(reader.slots)


def test_neighbours_are_the_nearest_others():
    """Oracle: a hand-made line of points, with and without classes."""
    table = draw_table(np.random.default_rng(0), Ranges(columns=(3, 3), rows=(60, 60)))
    frame = pd.DataFrame({"x": np.arange(17.0), "y": [*"ab"] * 8 + ["a"]})
    from harmonic.table.infer import infer_schema
    from harmonic.table.schema import attach

    line = attach(frame, infer_schema(frame))
    assert neighbours_of(line, np.array([4]), 3, within_class=True)[0].tolist() == [2, 6, 0]
    found = neighbours_of(table, np.arange(10), 4, within_class=False)
    assert all(anchor not in row for anchor, row in enumerate(found))


def test_the_published_question():
    """Oracle: HARMONIC's LLE template, written out for a table of two features."""
    frame = pd.DataFrame({"age": [31, 40], "job": ["cook", "smith"], "label": ["bad", "good"]})
    from harmonic.table.infer import infer_schema

    codec = RowCodec(infer_schema(frame))
    asked = "".join(text.question("Evaluate. \nText: ", codec.schema, codec.cells(frame)[1]))
    assert asked == "Evaluate. \nText: The state of age is 40, The state of job is smith.\nAnswer: "
    turned = "".join(text.question("", codec.schema, codec.cells(frame)[0], [2, 1, 0]))
    assert turned == "The state of job is cook, The state of age is 31.\nAnswer: "


def test_texts_for_the_tokenizer_hold_no_slot():
    """Oracle: the names of the slots, and the segments that are tokens anyway."""
    texts = list(training_texts(1, 5))
    assert not any(SLOT.format(0)[:5] in piece or piece in FIXED for piece in texts)
    assert any(piece.isalpha() for piece in texts)
    assert schema_of(draw_table(np.random.default_rng([1, 0]))).names[0] in "".join(texts)
