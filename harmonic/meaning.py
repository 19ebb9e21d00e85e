"""What of a method's configuration can change what it learns: it goes into keys, and tells two rows of a table apart."""

from collections.abc import Mapping
from typing import Any

CAME_LATER = ("budget", "max_minutes", "neighbour_search", "least_read")
"""Options of methods that are None unless they are set."""
CHECKPOINT_MINUTES = 2.0
"""The default, which stands in the keys of scores that were made before it was known to mean nothing."""


def fit_meaning(method: Mapping[str, Any]) -> dict[str, Any]:
    """What of a method's configuration can change what it learns: neither how it samples nor when it saves checkpoints.

    An option of `CAME_LATER` that is not set is as if it were not there: methods came before them.
    """
    unset = {name for name in CAME_LATER if method.get(name) is None}
    meaning = {name: value for name, value in method.items() if name not in unset | {"sampling"}}
    if isinstance(meaning.get("compute"), Mapping):
        meaning["compute"] = compute_meaning(meaning["compute"])
    if "model" in meaning:
        meaning["model"] = model_meaning(meaning["model"])
    return meaning


def metric_meaning(metric: Mapping[str, Any]) -> dict[str, Any]:
    """What of a metric's configuration can change its scores: of one that has a trainer, not when that saves checkpoints."""
    if not isinstance(metric.get("compute"), Mapping):
        return dict(metric)
    return {**metric, "compute": {**metric["compute"], "checkpoint_minutes": CHECKPOINT_MINUTES}}


def compute_meaning(compute: Mapping[str, Any]) -> dict[str, Any]:
    """What of a `trainer` group can change what is learnt; of what came later, only what is not as it was before."""
    came_later = {"compile": "auto", "strategy": "single"}
    without = {"checkpoint_minutes"} | {name for name, before in came_later.items() if compute.get(name) == before}
    return {name: value for name, value in compute.items() if name not in without}


def model_meaning(model: Any) -> Any:
    """What of a language model's configuration can change what is learnt; four-bit weights came later."""
    if isinstance(model, Mapping) and model.get("quantize", "") is None:
        return {name: value for name, value in model.items() if name != "quantize"}
    return model
