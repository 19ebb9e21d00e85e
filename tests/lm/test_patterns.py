"""Patterns of columns. Oracles: the column's own reader and writer, tried on every text there is in a range."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harmonic.codec import RowCodec
from harmonic.errors import BadInput
from harmonic.lm.patterns import literal, value_pattern
from harmonic.table.schema import Column, Schema


def pattern(column, style="canonical"):
    schema = Schema((column, Column("y", "category", "str", categories=("a", "b"))), "y", "binary")
    return re.compile(value_pattern(RowCodec(schema, style), column))


def integer(low, high, **settings):
    return Column("x", "integer", "int64", low=low, high=high, **settings)


def decimal(low, high, places, **settings):
    return Column("x", "decimal", "float64", low=low, high=high, places=places, **settings)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (0, 9), (7, 12), (1, 100), (38, 1207), (999, 1000), (-5, 5), (-120, -7), (-30, 0), (0, 255)]
)
def test_integers(low, high):
    """Oracle: every whole number around the range, and texts that look like one."""
    found = pattern(integer(low, high))
    for number in range(-1500, 1501):
        assert bool(found.fullmatch(str(number))) == (low <= number <= high)
    for text in ("", "-", "-0", "00", "07", "+7", "7.0", "7 ", "1e1", "٧"):
        assert not found.fullmatch(text)


@pytest.mark.parametrize(("low", "high", "places"), [(0.5, 12.0, 1), (-1.25, 1.3, 2), (0.078, 2.42, 3), (-3.0, -0.01, 2)])
def test_decimals(low, high, places):
    """Oracle: every number with so many places around the range, by the column's own writer."""
    column = decimal(low, high, places)
    found = pattern(column)
    for step in range(round(-4 * 10**places), round(13 * 10**places)):
        number = step / 10**places
        (text,) = column.write(pd.Series([number + 0.0]))
        assert bool(found.fullmatch(text)) == (low <= number <= high), text
    for text in ("1", "1.", ".5", "01.0", f"1.{'0' * (places + 1)}", "-0." + "0" * places):
        assert not found.fullmatch(text)


def test_a_bound_between_two_texts_leaves_the_outer_one_out():
    """Oracle: the reader, which refuses 1.2 where the least value is 1.23."""
    found = pattern(decimal(1.23, 1.47, 1))
    assert [text for text in ("1.2", "1.3", "1.4", "1.5") if found.fullmatch(text)] == ["1.3", "1.4"]
    with pytest.raises(BadInput, match=r"can hold no value between 1\.23 and 1\.27"):
        pattern(decimal(1.23, 1.27, 1))


def test_large_and_unbounded_numbers():
    """Oracle: counting digits; a bound of seventeen digits is met to the last one that a float holds."""
    found = pattern(integer(12_285, 1_484_705))
    assert all(map(found.fullmatch, ("12285", "99999", "100000", "1484705")))
    assert not any(map(found.fullmatch, ("12284", "1484706", "9999999", "0012285")))
    free = pattern(Column("x", "integer", "int64"))
    assert all(map(free.fullmatch, ("0", "-7", "123456789012345678901234567890")))
    assert pattern(integer(0, 2**53)).fullmatch(str(2**53))
    assert not pattern(integer(0, 2**53)).fullmatch(str(2**53 + 1))


def test_categories_and_holes():
    """Oracle: the list itself; what has a meaning in an expression or in JSON is taken literally."""
    odd = (
        "a",
        "a.b",
        "(",
        "[x]",
        "^$",
        "tab\t",
        'q"q',
        "back\\slash",
        "a+",
        "ü☕",
        "A",
        " a",
        "a|b",
        "{2}",
        "~`!@#%&=<>?/;:',",
    )
    column = Column("x", "category", "str", categories=odd)
    codec = RowCodec(Schema((column,), "x", "multiclass"))
    found = pattern(column)
    assert all(found.fullmatch(codec.escape(text)) for text in odd)
    assert not any(map(found.fullmatch, ("", "b", "axb", "aa", "x", "ab")))
    for style in ("canonical", "published"):
        assert pattern(replace(column, nullable=True), style).fullmatch("")
    assert pattern(replace(column, nullable=True), "published").fullmatch("nan")
    assert re.fullmatch(literal("".join(map(chr, range(32, 127)))), "".join(map(chr, range(32, 127))))


def test_texts_have_the_letters_of_train():
    """Oracle: the set of letters, one by one and together; what has a meaning in a class or in JSON is taken literally."""
    alphabet = "".join(sorted({*'aZ09 .,[]^-\\&~|{}()$"\n\t/ü☕'}))
    column = Column("x", "text", "str", alphabet=alphabet)
    codec = RowCodec(Schema((column,), "x", "multiclass"))
    found = pattern(column)
    assert all(found.fullmatch(codec.escape(letter)) for letter in alphabet) and found.fullmatch(codec.escape(alphabet))
    others = set(map(chr, range(1, 300))) - set(alphabet)
    assert not any(found.fullmatch(codec.escape(other)) or found.fullmatch(codec.escape(f"a{other}")) for other in others)
    assert not found.fullmatch("")
    assert pattern(replace(column, alphabet="")).fullmatch("b") and pattern(column, "published").fullmatch("b")
    assert pattern(replace(column, alphabet="\n")).fullmatch("\\n\\n")


@pytest.mark.parametrize("alphabet", ["", "ab\r\n"])
def test_a_carriage_return_stands_before_a_line_feed(alphabet):
    """Oracle: what `Column.read` takes: a text that a CSV file keeps, lines that end as Windows ends them among them."""
    column = Column("x", "text", "str", alphabet=alphabet)
    codec = RowCodec(Schema((column,), "x", "multiclass"))
    found = pattern(column)
    for text in ("a\r\nb", "a\nb", "\r\n", "\r\n\r\n", "a\rb", "a\r", "\r", "a\r\r\nb", "a\0b"):
        try:
            column.read(text)
        except ValueError:
            assert not found.fullmatch(codec.escape(text)), text
        else:
            assert found.fullmatch(codec.escape(text)), text
    assert not found.fullmatch("a\\u000db") and not found.fullmatch("a\\u0000b")


FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%d of %m, %Y (%%)")


@pytest.mark.parametrize("form", FORMATS)
def test_days(form):
    """Oracle: pandas: every day around the range, days that are none, and zeros where the column has them."""
    low, high = pd.Timestamp("2023-11-17"), pd.Timestamp("2024-03-05")
    column = Column("x", "datetime", "str", datetime_format=form, low=low.timestamp(), high=high.timestamp())
    found = pattern(column)
    for day in pd.date_range("2023-10-01", "2024-04-30"):
        assert bool(found.fullmatch(day.strftime(form))) == (low <= day <= high)
    for day in (30, 31):
        assert not found.fullmatch(form.replace("%d", str(day)).replace("%m", "02").replace("%Y", "2024").replace("%%", "%"))
    short = form.replace("%d", "7").replace("%m", "1").replace("%Y", "2024").replace("%%", "%")
    assert not found.fullmatch(short)
    unpadded = pattern(replace(column, padded=False))
    assert bool(unpadded.fullmatch(short)) == (form != "%Y%m%d")
    assert unpadded.fullmatch(low.strftime(form)) and unpadded.fullmatch(high.strftime(form))


def test_moments_with_a_time_and_formats_beyond_the_sampler():
    """Oracle: the reader, within the range's days; a format with names of months is told in one sentence."""
    low, high = pd.Timestamp("2024-02-28 06:30"), pd.Timestamp("2024-03-01 12:00")
    column = Column("x", "datetime", "str", datetime_format="%Y-%m-%d %H:%M", low=low.timestamp(), high=high.timestamp())
    found = pattern(column)
    for moment in pd.date_range("2024-02-27", "2024-03-03", freq="45min"):
        matched = bool(found.fullmatch(moment.strftime("%Y-%m-%d %H:%M")))
        assert matched == (low.normalize() <= moment.normalize() <= high.normalize())
    assert not found.fullmatch("2024-02-30 10:00")
    day = pattern(replace(column, datetime_format="%Y-%m-%d"))  # at midnight, as it is read
    assert [day.fullmatch(f"2024-02-{number}") is not None for number in (27, 28, 29)] == [False, False, True]
    with pytest.raises(BadInput, match="can hold no value"):
        pattern(replace(column, datetime_format="%Y-%m-%d", high=low.timestamp()))
    century = replace(column, low=0.0, high=5e9, datetime_format="%d.%m.%Y")
    assert pattern(century).fullmatch("31.12.2099")
    clock = replace(column, datetime_format="%H:%M:%S.%f")
    assert pattern(clock).fullmatch("07:59:00.500000") and not pattern(clock).fullmatch("7:59:00.5")
    assert pattern(replace(clock, padded=False)).fullmatch("7:59:00.5")
    with pytest.raises(BadInput, match="the sampler knows the date fields"):
        pattern(replace(column, datetime_format="%d %b %Y"))


def test_published_texts():
    """Oracle: `str()` of what pandas holds, between the bounds; what the published reader refuses has no pattern."""
    rng = np.random.default_rng(0)
    found = pattern(decimal(-2.5, 40.0, 3), "published")
    assert all(found.fullmatch(str(value)) for value in rng.uniform(-2.5, 40, 200).round(3).tolist())
    assert not any(map(found.fullmatch, ("40.001", "-2.6", "1e-05", "7", "7.1234")))
    assert pattern(replace(integer(0, 12), dtype="float64"), "published").fullmatch("9.0")
    assert not pattern(integer(0, 12), "published").fullmatch("9.0")


def test_free_text():
    """Oracle: JSON: what `json.dumps` writes inside the quotes, quotes by their number, and nothing that ends a string."""
    column = Column("x", "text", "str")
    codec = RowCodec(Schema((column,), "x", "multiclass"))
    found = pattern(column)
    assert not found.fullmatch("")
    assert pattern(replace(column, nullable=True)).fullmatch("")
    for text in ("plain", 'q"q', "back\\slash", "tab\tline\n", "\x01\x1f", "ü☕\u2028"):
        assert found.fullmatch(codec.escape(text))
    assert not any(map(found.fullmatch, ('"', "\\", "\\x", "\n", "\\u00", "\\ud800")))
