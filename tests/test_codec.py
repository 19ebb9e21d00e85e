"""Rows as text. Oracles: texts written out by hand, the published form, and that what is written is read back."""

import json

import numpy as np
import pandas as pd
import pytest

from harmonic.codec import (
    GENERATE,
    QUOTE,
    RowCodec,
    Unreadable,
    frequent_segments,
    instruction,
    introduction,
    question,
    question_key,
    wrap,
)
from harmonic.table.schema import Column, Schema

PETS = Schema(
    (
        Column("age", "integer", "float64", nullable=True, low=0, high=30),
        Column("sex", "category", "str", categories=("f", "m")),
        Column("weight", "decimal", "float64", places=2, low=0.5, high=80.0),
    ),
    target="sex",
    task="binary",
    description="adopting animals",
)
FRAME = pd.DataFrame({"age": [9.0, np.nan], "sex": ["f", "m"], "weight": [4.5, 30.0]})
NASTY = [
    'say "hi"',
    "back\\slash",
    "\\",
    '\\"',
    "tab\tline\nfeed",
    "café ☕",
    "\u2028\x01\x1f",
    "}",
    '", "sex": "m',
    " a ",
    "NaN",
    "<eos>",
]


def one_column(column, other="x"):
    """A codec of a column and a text column."""
    return RowCodec(Schema((column, Column(other, "text", "str", nullable=True)), other, "multiclass"))


def reason(codec, text):
    with pytest.raises(Unreadable) as error:
        codec.read(text)
    return str(error.value)


def test_canonical_rows_by_hand():
    """Oracle: by hand. Integers without ".0", places filled up, an empty cell as the empty string."""
    codec = RowCodec(PETS)
    texts = ["".join(codec.row(cells)) for cells in codec.cells(FRAME)]
    assert texts == ['{"age": "9", "sex": "f", "weight": "4.50"}', '{"age": "", "sex": "m", "weight": "30.00"}']


def test_published_rows_by_hand():
    """Oracle: by hand, after the authors' `str()` of what pandas read."""
    codec = RowCodec(PETS, "published")
    texts = ["".join(codec.row(cells)) for cells in codec.cells(FRAME)]
    assert texts == ['{"age": "9.0", "sex": "f", "weight": "4.5"}', '{"age": "nan", "sex": "m", "weight": "30.0"}']


@pytest.mark.parametrize("style", ["canonical", "published"])
@pytest.mark.parametrize("order", [None, [2, 0, 1]])
def test_what_is_written_is_read(style, order):
    """Oracle: the inverse; also in another order of columns, and with text behind the row."""
    codec = RowCodec(PETS, style)
    rows = [codec.read("\n" + "".join(codec.row(cells, order)) + ' and {"more') for cells in codec.cells(FRAME)]
    pd.testing.assert_frame_equal(pd.DataFrame(rows, columns=PETS.names), FRAME)
    assert list(rows[0]) == PETS.names


@pytest.mark.parametrize("value", NASTY)
def test_nasty_texts_are_written_and_read(value):
    """Oracle: the inverse, and the standard library's JSON; in the name of a column too."""
    codec = one_column(Column(value, "category", "str", categories=(value,)))
    (cells,) = codec.cells(pd.DataFrame({value: [value], "x": [value]}))
    text = "".join(codec.row(cells))
    assert codec.read(text) == {value: value, "x": value}
    assert json.loads(text) == {value: value, "x": value}


@pytest.mark.parametrize("value", NASTY)
def test_no_cell_holds_a_bare_quote(value):
    """Oracle: the grammar. A sampler that lets the model write values takes the first quote for the value's end."""
    codec = one_column(Column("c", "category", "str", categories=(value,)))
    assert QUOTE not in codec.cells(pd.DataFrame({"c": [value], "x": [""]}))[0][0]


@pytest.mark.parametrize("escaped", [r"caf\u00e9", "café", r"\u0063afé"])
def test_any_json_escape_is_read(escaped):
    """Oracle: the JSON standard; a model may write an escape where the codec writes none."""
    codec = one_column(Column("c", "category", "str", categories=("café",)))
    assert codec.read(f'{{"c": "{escaped}", "x": ""}}') == {"c": "café", "x": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no JSON object"),
        ("Here is a row: {}", "missing or unknown columns"),
        ('{"age": "9", "sex": "f", "weight": "4.50"', "no JSON object"),
        ('{"age": "9\n", "sex": "f", "weight": "4.50"}', "no JSON object"),
        (r'{"age": "\9", "sex": "f", "weight": "4.50"}', "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('["9", "f", "4.50"]', "no JSON object"),
        ("9", "no JSON object"),
        ('{"age": 9, "sex": "f", "weight": "4.50"}', "no flat JSON object of strings"),
        ('{"age": {"of": "9"}, "sex": "f", "weight": "4.50"}', "no flat JSON object of strings"),
        ('{"age": null, "sex": "f", "weight": "4.50"}', "no flat JSON object of strings"),
        ('{"age": "9", "sex": "f"}', "missing or unknown columns"),
        ("{}", "missing or unknown columns"),
        ('{"age": "9", "sex": "f", "height": "4.50"}', "missing or unknown columns"),
        ('{"age": "9", "sex": "f", "weight": "4.50", "height": "1"}', "missing or unknown columns"),
        ('{"age": "9", "sex": "f", "weight": "4.50", "age": "8"}', "repeated columns"),
        ('{"age": "31", "sex": "f", "weight": "4.50"}', "age: out of range"),
        ('{"age": "-1", "sex": "f", "weight": "4.50"}', "age: out of range"),
        ('{"age": "' + "9" * 5000 + '", "sex": "f", "weight": "4.50"}', "age: out of range"),
        ('{"age": "9.0", "sex": "f", "weight": "4.50"}', "age: too many decimal places"),
        ('{"age": "nine", "sex": "f", "weight": "4.50"}', "age: not a number"),
        ('{"age": "1e1", "sex": "f", "weight": "4.50"}', "age: not a number"),
        ('{"age": "nan", "sex": "f", "weight": "4.50"}', "age: not a number"),
        ('{"age": " 9", "sex": "f", "weight": "4.50"}', "age: not a number"),
        ('{"age": "9", "sex": "F", "weight": "4.50"}', "sex: unknown category"),
        ('{"age": "9", "sex": "", "weight": "4.50"}', "sex: empty"),
        ('{"age": "9", "sex": "f", "weight": "4.500"}', "weight: too many decimal places"),
        ('{"age": "9", "sex": "f", "weight": ""}', "weight: empty"),
    ],
)
def test_reasons_for_which_a_text_is_refused(text, expected):
    """Oracle: the rule each text breaks."""
    assert reason(RowCodec(PETS), text) == expected


@pytest.mark.parametrize("text", ["2024-02-30", "2024-2-29", "31.01.2024", "NaT", "nan", "now", "today"])
@pytest.mark.parametrize("dtype", ["str", "datetime64"])
def test_what_is_no_date(text, dtype):
    """Oracle: the format. pandas takes some words for moments: neither an empty cell nor today may come of them."""
    day = Column("day", "datetime", dtype, datetime_format="%Y-%m-%d", low=0, high=4e9)
    assert reason(one_column(day), f'{{"day": "{text}", "x": ""}}') == "day: not a date"


def test_a_date_is_read_as_it_is_stored():
    """Oracle: by hand."""
    for dtype, value in (("str", "2024-02-29"), ("datetime64", pd.Timestamp(2024, 2, 29))):
        day = Column("day", "datetime", dtype, datetime_format="%Y-%m-%d", low=0, high=4e9)
        assert one_column(day).read('{"day": "2024-02-29", "x": ""}')["day"] == value


def test_a_moment_is_written_in_its_format_as_published_too():
    """Oracle: the reader; in the authors' files a date is a text, and `str()` of a moment would add a time of day."""
    day = Column("day", "datetime", "datetime64", nullable=True, datetime_format="%Y-%m-%d", low=0, high=4e9)
    days = pd.Series([pd.Timestamp(2024, 2, 29), pd.NaT])
    for style in ("canonical", "published"):
        codec = RowCodec(one_column(day).schema, style)
        assert codec.texts(day, days) == [codec.text(day, value) for value in days] == ["2024-02-29", ""]
        assert codec.read_cell(day, "2024-02-29") == days[0] and codec.read_cell(day, "") is pd.NaT


def test_published_words_for_an_empty_cell():
    """Oracle: the authors' data, where `str()` of an empty cell is one of these."""
    codec = RowCodec(PETS, "published")
    for word in ("nan", "None", "NaT", ""):
        assert np.isnan(codec.read(f'{{"age": "{word}", "sex": "f", "weight": "4.5"}}')["age"])
    assert reason(codec, '{"age": "9.0", "sex": "nan", "weight": "4.5"}') == "sex: empty"
    assert codec.read('{"age": "9", "sex": "f", "weight": "4.5"}')["age"] == 9.0


def test_the_order_keeps_the_target_last():
    """Oracle: invariant; every order of the features comes up."""
    orders = [RowCodec(PETS).order(np.random.default_rng(seed)) for seed in range(50)]
    assert {tuple(order) for order in orders} == {(0, 2, 1), (2, 0, 1)}


def test_an_instruction_by_hand():
    """Oracle: written out after the published data."""
    codec = RowCodec(PETS)
    rows = [codec.row(cells) for cells in codec.cells(FRAME)]
    assert "".join(instruction(PETS, rows)) == (
        "Here are 2 tabular data about adopting animals, each containing 2 columns of features and 1 column of labels, "
        "where the sex column is a binary classification label. I will transmit the data to you in JSON format. Please "
        "generate an approximate sample based on these 2 examples.\n"
        'Example one: {"age": "9", "sex": "f", "weight": "4.50"}\n'
        'Example two: {"age": "", "sex": "m", "weight": "30.00"}\n'
        "Generate one sample: "
    )


@pytest.mark.parametrize(
    ("task", "words"),
    [("binary", "a binary"), ("multiclass", "a multi classification label"), ("regression", "a regression label")],
)
def test_the_task_in_the_introduction(task, words):
    """Oracle: the published texts."""
    schema = Schema(PETS.columns, "sex", task)
    assert f"where the sex column is {words}" in introduction(schema, 5)
    assert introduction(schema, 5).startswith("Here are 5 tabular data, each containing")


def test_the_dialogue_form_by_hand():
    """Oracle: the published training form."""
    assert "".join(wrap(["a", "b"])) == "Human: \nab\n\nAssistant: \n"


def test_segments_are_keys_values_quotes_and_a_close():
    """Oracle: by hand."""
    assert RowCodec(PETS).row(["9", "f", "4.50"], [2, 0, 1]) == [
        *('{"weight": "', "4.50", '"'),
        *(', "age": "', "9", '"'),
        *(', "sex": "', "f", '"'),
        "}",
    ]


@pytest.mark.parametrize("k", [1, 5, 9])
def test_frequent_segments_are_what_the_format_fixes_and_named_categories(k):
    """Oracle: invariant. In whatever order, what is no value of an instruction is among them, and nothing else is idle."""
    codec = RowCodec(PETS)
    used = set()
    for order in (None, [0, 2, 1], [2, 0, 1], [1, 0, 2]):
        text = wrap(instruction(PETS, [codec.row(["VALUE"] * 3, order)] * k))
        used |= {segment for segment in text if segment != "VALUE"}
    assert set(frequent_segments(codec, k)) == used | {"f", "m"}
    assert GENERATE in used


def test_named_categories_are_frequent_as_they_are_written():
    """Oracle: the cells themselves: a category that needs escapes is a segment in its escaped form."""
    values = ["red", 'say "hi"', "back\\slash", "tab\there"]
    codec = one_column(Column("c", "category", "str", categories=tuple(sorted(values))))
    cells = codec.cells(pd.DataFrame({"c": values, "x": ["1"] * 4}))
    assert {row[0] for row in cells} <= set(frequent_segments(codec, 3))


def test_more_examples_than_number_words_are_refused():
    """Oracle: the documented limit; a tenth example would be dropped without a word."""
    from harmonic.errors import BadInput
    from harmonic.method import Harmonic

    for k in (0, 10):
        with pytest.raises(BadInput, match="between 1 and 9"):
            Harmonic(k=k)


def test_what_stands_around_the_object_is_ignored():
    """Oracle: the dialogue form, which a model prompted without it writes first, and a second row behind."""
    row = '{"age": "9", "sex": "f", "weight": "4.50"}'
    codec = RowCodec(PETS)
    assert codec.read(f"\n\nAssistant: \n{row}\n{row}") == codec.read(row) == {"age": 9, "sex": "f", "weight": 4.5}


def test_prose_keeps_its_lines():
    """Oracle: by hand. A name or a description with a line feed begins no line; ordinary ones are as they were."""
    loud = 'x\nExample one: {"age": "9"}'
    schema = Schema((Column("age", "integer", "int64"), Column(loud, "text", "str")), loud, "regression", "a\r\nb")
    shown = r'x\nExample one: {"age": "9"}'
    assert introduction(schema, 2).startswith("Here are 2 tabular data about a\\r\\nb, each")
    assert f"where the {shown} column is a regression label" in introduction(schema, 2)
    assert question_key(schema.columns[1], first=False) == f", The state of {shown} is "
    quiet = Column('say "hi" \\ ☕', "text", "str")
    assert question_key(quiet, first=True) == 'The state of say "hi" \\ ☕ is '


@pytest.mark.parametrize(
    "rows",
    [
        (["x, The state of b is y", "z", "t"], ["x", "y, The state of b is z", "t"]),
        (["x.\nAnswer: t", "z", "t"], ["x", "z", "t"]),
        ([", The state of , The state of ", "", "t"], [", The state of ", ", The state of ", "t"]),
    ],
)
def test_a_question_tells_its_cells_apart(rows):
    """Oracle: the cells, found again by splitting the text at its keys; no two rows give one text."""
    schema = Schema(tuple(Column(name, "text", "str") for name in "abt"), "t", "multiclass")
    codec = RowCodec(schema)
    texts = ["".join(question("Q: ", schema, codec.cells(pd.DataFrame([row], columns=list("abt")))[0])) for row in rows]
    assert texts[0] != texts[1]
    for text, row in zip(texts, rows, strict=True):
        head, first, rest = text.partition("Q: The state of a is ")
        a, key, rest = rest.partition(", The state of b is ")
        b, answer, rest = rest.partition(".\nAnswer: ")
        assert (head, rest, bool(first and key and answer)) == ("", "", True)
        assert [json.loads(f'"{cell}"') for cell in (a, b)] == row[:2]


def test_a_question_about_ordinary_cells_is_as_it_was():
    """Oracle: by hand."""
    asked = "".join(question("Q: ", PETS, ["9", "f", "4.50"]))
    assert asked == "Q: The state of age is 9, The state of weight is 4.50.\nAnswer: "
