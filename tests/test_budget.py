"""Budgets. Oracles: the recipes as they are written, the record, and Hydra's own rules for `+`."""

from dataclasses import dataclass

import pytest

from harmonic.budget import check_minutes, settle, total_steps
from harmonic.errors import BadInput


@dataclass(frozen=True)
class Recipe:
    steps: int
    rate: float = 0.1
    epochs: int = 0


RECIPES = {"smoke": Recipe(1), "default": Recipe(10), "published": Recipe(100)}


def test_a_budget_stands_for_a_recipe():
    """Oracle: the table above; what the user gave comes before it."""
    assert settle(None, RECIPES) == settle("default", RECIPES, steps=None) == Recipe(10)
    assert settle("published", RECIPES, steps=7) == Recipe(7)
    assert settle("smoke", RECIPES, rate=0.5) == Recipe(1, 0.5)
    assert settle("published", RECIPES, epochs=3) == Recipe(0, epochs=3)
    assert settle(None, {"default": Recipe(5, epochs=9)}, steps=2) == Recipe(2, epochs=0)


def test_both_steps_and_epochs_are_done():
    """Oracle: by hand; a table smaller than a batch has a step an epoch."""
    assert total_steps(10, 3, rows=100, batch_size=32) == 10
    assert total_steps(5, 3, rows=100, batch_size=32) == 9
    assert total_steps(0, 3, rows=10, batch_size=32) == 3
    assert total_steps(5, 3, rows=100, batch_size=32, keeps_last=True) == 12
    assert total_steps(0, 3, rows=96, batch_size=32, keeps_last=True) == 9


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: settle("huge", RECIPES), "method.budget must be one of smoke, default, published, but is 'huge'"),
        (lambda: settle(None, RECIPES, steps=0), "method.steps must be a number of at least 1"),
        (lambda: check_minutes(-1), "method.max_minutes must be a number of at least 0"),
    ],
)
def test_what_is_none_is_refused(make, said):
    """Oracle: one sentence."""
    with pytest.raises(BadInput, match=said):
        make()
