"""What a column may hold, as a regular expression over the texts that `RowCodec` writes and its reader accepts.

The expressions use literals, classes, groups, alternatives and repetitions alone, so that any engine takes them. They are
meant for whole texts: an alternative may be the beginning of another.
"""

import itertools
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pandas as pd

from harmonic.codec import RowCodec
from harmonic.errors import BadInput
from harmonic.table.schema import Column

TEXT = r'(?:[^"\\\x00-\x1f]|\\(?:[\\bfnt]|r\\n|u00(?:0[1-9abcef]|1[0-9a-f]|22)))+'
"""The inside of a JSON string that is not empty, quotes by their number; a carriage return stands before a line feed alone,
and there is no NUL, since no CSV file keeps them."""
MOST_DAYS = 40_000
"""Dates that are listed one by one, which leaves out 30 February; a longer range is told by fields alone."""


def value_pattern(codec: RowCodec, column: Column, *, empty: bool = True) -> str:
    """Every text of the column: its categories, its numbers from lowest to highest, its moments; empty where allowed.

    Moments with a time of day may lie outside the range on its first and last day; all else is exact.

    Args:
        codec: how texts are written.
        column: whose.
        empty: whether the empty cell is one of them, in a column that allows it.

    Raises:
        BadInput: the column can hold nothing.
    """
    published = codec.style == "published"
    if column.categories:
        pattern = _any_of([literal(codec.escape(text)) for text in column.categories])
    elif column.kind == "text":
        pattern = _texts(codec, column.alphabet) if column.alphabet and not published else TEXT
    elif column.kind == "datetime":
        pattern = _moments(column)
    elif published and column.kind == "decimal":
        pattern = _any_of([numbers(column, places) for places in range(1, column.places + 1)])
    else:
        pattern = numbers(column, column.places)
        if published and column.dtype == "float64":
            pattern += r"(?:\.0)?"
    if not pattern:
        bounds = f"{column.low} and {column.high}"
        raise BadInput(f"column {column.name!r} can hold no value between {bounds}: correct its range in dataset.columns.")
    if not column.nullable or not empty:
        return pattern
    return f"(?:{pattern}|nan|None|NaT)?" if published else f"(?:{pattern})?"


def _texts(codec: RowCodec, alphabet: str) -> str:
    """Texts of these characters: a class of those that stand for themselves, and the escapes of the others."""
    plain = [letter for letter in alphabet if codec.escape(letter) == letter]
    letters = [literal(codec.escape("\r\n" if letter == "\r" else letter)) for letter in alphabet if letter not in plain]
    if plain:
        letters.insert(0, "[" + "".join(f"\\{letter}" if letter in "[]^-&~|" else letter for letter in plain) + "]")
    return f"(?:{'|'.join(letters)})+"


def literal(text: str) -> str:
    """The expression of one text."""
    return "".join(c if c.isalnum() or not c.isascii() or c in " _'\"/:;,=%<>@!`" else f"\\{c}" for c in text)


def numbers(column: Column, places: int) -> str:
    """Numbers between the column's bounds with exactly so many decimal places; empty where there is none."""
    if column.low is None or column.high is None:
        return r"-?(?:0|[1-9][0-9]*)" + (rf"\.[0-9]{{{places}}}" if places else "")
    low = int(Decimal(repr(float(column.low))).scaleb(places).to_integral_value(ROUND_CEILING))
    high = int(Decimal(repr(float(column.high))).scaleb(places).to_integral_value(ROUND_FLOOR))
    parts = []
    if low < 0 and low <= high:
        parts.append(f"-{_naturals(max(1, -high), -low, places)}")
    if high >= 0:
        parts.append(_naturals(max(0, low), high, places))
    return _any_of(parts)


def _naturals(low: int, high: int, places: int) -> str:
    """Whole numbers from low to high, without leading zeros, a point before their last `places` digits."""
    parts = []
    for digits in range(max(len(str(high)), places + 1), places, -1):
        least = low if digits == places + 1 else max(low, 10 ** (digits - 1))
        most = min(high, 10**digits - 1)
        if least <= most:
            parts.append(_between(f"{least:0{digits}}", f"{most:0{digits}}", places))
    return _any_of(parts)


def _between(low: str, high: str, places: int) -> str:
    """Digit strings of one length from low to high."""
    if not low:
        return ""
    point = r"\." if places and len(low) == places else ""
    rest = len(low) - 1
    if low == "0" * len(low) and high == "9" * len(high):
        return point + _digits(len(low), places)
    first, last = int(low[0]), int(high[0])
    if first == last:
        return f"{point}{first}{_between(low[1:], high[1:], places)}"
    lowest, highest = _between(low[1:], "9" * rest, places), _between("0" * rest, high[1:], places)
    parts = [f"{first}{lowest}"]
    if last - first > 1:
        parts.append(f"[{first + 1}-{last - 1}]{_behind(rest, places)}")
    return point + _any_of([*parts, f"{last}{highest}"])


def _behind(count: int, places: int) -> str:
    """Any `count` last digits, behind a point where the one before is the last before it."""
    return (r"\." if places and count == places else "") + _digits(count, places)


def _digits(count: int, places: int) -> str:
    """Any `count` last digits, a point among them where one belongs."""
    if places and count > places:
        return rf"[0-9]{{{count - places}}}\.[0-9]{{{places}}}"
    return f"[0-9]{{{count}}}" if count else ""


def _any_of(patterns: Sequence[str]) -> str:
    unique = list(dict.fromkeys(patterns))
    return unique[0] if len(unique) == 1 else f"(?:{'|'.join(unique)})" if unique else ""


FIELDS = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "m": "(?:0[1-9]|1[0-2])",
    "d": "(?:0[1-9]|[12][0-9]|3[01])",
    "H": "(?:[01][0-9]|2[0-3])",
    "M": "[0-5][0-9]",
    "S": "[0-5][0-9]",
    "f": "[0-9]{6}",
    "I": "(?:0[1-9]|1[0-2])",
    "p": "(?:AM|PM)",
}
"""What strftime writes for each sign."""
SHORT_FIELDS = {
    "m": "(?:1[0-2]|0?[1-9])",
    "d": "(?:[12][0-9]|3[01]|0?[1-9])",
    "H": "(?:1[0-9]|2[0-3]|0?[0-9])",
    "f": "[0-9]{1,6}",
    "I": "(?:1[0-2]|0?[1-9])",
}
"""What stands for some where leading zeros may be left out."""
DAY_FIELDS = "Ymd"


def _moments(column: Column) -> str:
    """Moments in the column's strftime format; in a column not `padded`, month, day and hour may lack their leading zero.

    Fields that nothing separates need theirs all the same, to be told apart.
    """
    pieces = _format_pieces(column)
    tight = any(left[0] and right[0] for left, right in itertools.pairwise(pieces))
    zero, fields = ("0", FIELDS) if column.padded or tight else ("0?", FIELDS | SHORT_FIELDS)

    def any_moment(pieces: Sequence[tuple[str, str]]) -> str:
        return "".join(fields[field] if field else literal(text) for field, text in pieces)

    days = [place for place, (field, _) in enumerate(pieces) if field and field in DAY_FIELDS]
    if sorted(pieces[place][0] for place in days) != sorted(DAY_FIELDS) or column.low is None or column.high is None:
        return any_moment(pieces)
    start, stop = days[0], days[-1] + 1
    day = pieces[start:stop]
    low, high = (pd.Timestamp(bound, unit="s") for bound in (column.low, column.high))
    has_time = any(field and field not in DAY_FIELDS for field, _ in pieces)
    first, last = low.floor("D") if has_time else low.ceil("D"), high.floor("D")
    if first > last:
        return ""
    if (last - first).days >= MOST_DAYS or any(field and field not in DAY_FIELDS for field, _ in day):
        return any_moment(pieces)
    listed = _tree([_day_pieces(moment, day, zero) for moment in pd.date_range(first, last, freq="D")])
    return any_moment(pieces[:start]) + listed + any_moment(pieces[stop:])


def _format_pieces(column: Column) -> list[tuple[str, str]]:
    """A strftime format as fields, ("Y", ""), and the texts between them, ("", "-")."""
    pieces: list[tuple[str, str]] = []
    letters = iter(column.datetime_format)
    for letter in letters:
        field = next(letters, "") if letter == "%" else ""
        if letter == "%" and field != "%" and field not in FIELDS:
            known = ", ".join(f"%{name}" for name in FIELDS)
            raise BadInput(
                f"column {column.name!r}: the sampler knows the date fields {known}, but the format is "
                f"{column.datetime_format!r}: write the column in one of these, or set method.sampling.decoding.form=given."
            )
        pieces.append((field, "") if letter == "%" and field != "%" else ("", letter))
    return pieces


def _day_pieces(day: pd.Timestamp, pieces: Sequence[tuple[str, str]], zero: str) -> tuple[str, ...]:
    month, number = (str(part) if part > 9 else f"{zero}{part}" for part in (day.month, day.day))
    fields = {"Y": f"{day.year:04}", "m": month, "d": number}
    return tuple(fields[field] if field else literal(text) for field, text in pieces)


def _tree(texts: Sequence[tuple[str, ...]]) -> str:
    """One expression for many texts of equally many pieces: what they begin with is written once."""
    if not texts[0]:
        return ""
    by_head = itertools.groupby(sorted(texts), key=lambda text: text[0])
    parts = {head: _tree([text[1:] for text in rest]) for head, rest in by_head}
    by_rest: dict[str, list[str]] = {}
    for head, rest in parts.items():
        by_rest.setdefault(rest, []).append(head)
    return _any_of([_any_of(heads) + rest for rest, heads in by_rest.items()])
