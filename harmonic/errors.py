"""The errors a user can cause, told apart from the project's own defects, and the checks every option goes through."""

from typing import Any, get_args


class BadInput(ValueError):
    """Something the user can mend.

    The message is one sentence: what must hold, what was found, what to do. `run.py` prints it without a traceback.
    """


class SamplingFailed(RuntimeError):
    """A generator could not deliver the rows it was asked for; the message shows what it wrote instead."""


def check_choice(option: str, value: str, literal: Any) -> None:
    """Raise BadInput unless `value` is one of a Literal's."""
    if value not in get_args(literal):
        raise BadInput(f"{option} must be one of {', '.join(get_args(literal))}, but is {value!r}: correct it.")


def check_at_least(option: str, value: float, least: float) -> None:
    """Raise BadInput unless `value` is a number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise BadInput(f"{option} must be a number of at least {least:g}, but is {value!r}: correct it.")
