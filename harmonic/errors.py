"""The errors a user can cause, told apart from the project's own defects, and the checks every option goes through."""

from numbers import Integral
from typing import Any, get_args

LONGEST_NAME = 200
"""Bytes; file systems take 255, and what is written aside has a longer name for a while."""


class BadInput(ValueError):
    """Something the user can mend.

    The message is one sentence: what must hold, what was found, what to do. `run.py` prints it without a traceback.
    """


class SamplingFailed(RuntimeError):
    """A generator could not deliver the rows it was asked for; the message shows what it wrote instead."""


def shown(value: Any) -> str:
    """A table's cell as a message has it: as Python writes it, whatever library holds it."""
    return repr(value.item() if hasattr(value, "item") else value)


def check_choice(option: str, value: str, literal: Any) -> None:
    """Raise BadInput unless `value` is one of a Literal's."""
    if value not in get_args(literal):
        raise BadInput(f"{option} must be one of {', '.join(get_args(literal))}, but is {value!r}: correct it.")


def check_at_least(option: str, value: float, least: float) -> None:
    """Raise BadInput unless `value` is a number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise BadInput(f"{option} must be a number of at least {least:g}, but is {value!r}: correct it.")


def check_count(option: str, value: int, least: int) -> None:
    """Raise BadInput unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise BadInput(f"{option} must be a whole number of at least {least}, but is {value!r}: correct it.")


def check_bool(option: str, value: bool) -> None:
    """Raise BadInput unless `value` is true or false: `no` is a text on Hydra's command line, and texts count as true."""
    if not isinstance(value, bool):
        raise BadInput(f"{option} must be true or false, but is {value!r}: correct it.")


def check_name(option: str, name: Any) -> None:
    """Raise BadInput unless `name` names one folder and nothing else.

    Letters of any script, spaces, dots inside and brackets are fine; separators, a dot or a dash in front, and what cannot
    be seen are not.
    """
    if fault := _fault(name):
        shown = repr(name)
        shown = shown if len(shown) <= 80 else f"{shown[:60]}…"
        raise BadInput(f"{option} must be a plain name, which becomes a folder, but {shown} {fault}: give it another.")


def _fault(name: Any) -> str:
    """What keeps a name from being a folder's; empty if nothing does."""
    if not isinstance(name, str):
        return "is no text"
    if not name.strip():
        return "is empty"
    if "/" in name or "\\" in name:
        return "is a path"
    if name[0] in ".-":
        return f"begins with {name[0]!r}"
    if not name.isprintable():
        return "holds characters that cannot be seen"
    if (size := len(name.encode())) > LONGEST_NAME:
        return f"takes {size} bytes of at most {LONGEST_NAME}"
    return ""
