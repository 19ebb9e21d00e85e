"""How much a method may spend: seconds, minutes on two cores, or what its authors spent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

from harmonic.errors import check_at_least, check_choice

Budget = Literal["smoke", "default", "published"]
"""smoke: seconds (minutes where rows are written freely), to see that a cell runs; its rows mean nothing. default: minutes
on two cores. published: the authors' settings, which may take a GPU and hours."""

Recipe = TypeVar("Recipe")


def settle(budget: Budget | None, recipes: Mapping[Budget, Recipe], **given: Any) -> Recipe:
    """The recipe of a budget (a frozen dataclass) with what the user gave in place of its own.

    Args:
        budget: its name; None for default.
        recipes: of each budget.
        given: fields of the recipe; None leaves one as it is. Of steps and epochs, what is given stands for both.
    """
    name: Budget = check_budget(budget) or "default"
    changes = {field: value for field, value in given.items() if value is not None}
    for field, value in changes.items():
        if isinstance(value, int | float):
            check_at_least(f"method.{field}", value, 0 if isinstance(value, float) else 1)
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in changes and other not in changes and hasattr(recipes[name], other):
            changes[other] = 0
    return replace(recipes[name], **changes)  # type: ignore[type-var]


def total_steps(steps: int, epochs: int, rows: int, batch_size: int, *, keeps_last: bool = False) -> int:
    """Optimiser steps on a table of so many rows: a network trains until both its steps and its epochs are done.

    Args:
        steps: at least.
        epochs: at least.
        rows: of the table.
        batch_size: rows of a step.
        keeps_last: whether what is left of an epoch counts as a batch, as where the authors' loader keeps it.
    """
    return max(steps, epochs * max(1, -(-rows // batch_size) if keeps_last else rows // batch_size))


def check_budget(budget: Budget | None) -> Budget | None:
    """`method.budget`, if it is none or one of the three."""
    if budget is not None:
        check_choice("method.budget", budget, Budget)
    return budget


def check_minutes(max_minutes: float | None) -> float | None:
    """`method.max_minutes`, if it is none or a number of at least 0."""
    if max_minutes is not None:
        check_at_least("method.max_minutes", max_minutes, 0)
    return max_minutes
