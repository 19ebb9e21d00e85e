"""HARMONIC: LLM table synthesis from nearest-neighbour instructions, and the benchmark around it.

from harmonic import Harmonic, load_dataset
split = load_dataset("affairs")
rows = Harmonic().fit(split.train, seed=0).sample(1000, seed=0)
"""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harmonic.datasets import as_table, load_dataset
    from harmonic.method import Harmonic
    from harmonic.table.schema import Schema
from harmonic.table import Split

__all__ = ["Harmonic", "Schema", "Split", "as_table", "load_dataset"]

_HOMES = {
    "Harmonic": "method",
    "Schema": "table.schema",
    "Split": "table",
    "as_table": "datasets",
    "load_dataset": "datasets",
}

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # of a faster kernel it could have, also where none is asked for


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is: importing the package alone costs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'harmonic' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"harmonic.{_HOMES[name]}"), name)
