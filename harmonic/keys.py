"""What each stage's result depends on, hashed into its name: equal keys, equal results."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harmonic import env
from harmonic.seed import derive_seed
from harmonic.store import stage_key
from harmonic.table import Split, digest

VERSIONS = {"fit": 1, "sample": 1, "score": 1}
"""Raised when a stage's code changes what it computes, so that older results are not taken for new ones.

A metric that changes alone raises a `version` of its own, and a method too: the other results are kept.
"""

Config = Mapping[str, Any]
"""A cell's configuration, see `harmonic.bench.run_cell`."""


def fit_key(config: Config, synthesizer: Any, split: Split) -> str:
    """Of what a method learnt: its configuration, its inputs, the rows it learns from, their schema, seed and device."""
    return stage_key(
        "fit",
        VERSIONS["fit"],
        method=_fit_meaning(config["method"]),
        inputs=synthesizer.digest_inputs() if hasattr(synthesizer, "digest_inputs") else {},
        train=digest(getattr(split, getattr(synthesizer, "learns_from", "train"))),
        schema=split.schema.to_json(),
        seed=derive_seed(config["seed"], "fit"),
        device=env.device_kind(),
        **({"method_version": synthesizer.version} if hasattr(synthesizer, "version") else {}),
        **({"recipe": asdict(synthesizer.recipe)} if hasattr(synthesizer, "recipe") else {}),
    )


def _fit_meaning(method: Mapping[str, Any]) -> dict[str, Any]:
    """What of a method's configuration can change what it learns: neither how it samples nor when it saves checkpoints.

    A budget or a search that is not set is as if it were not there: methods came before them.
    """
    unset = {name for name in ("budget", "max_minutes", "neighbour_search") if method.get(name) is None}
    meaning = {name: value for name, value in method.items() if name not in unset | {"sampling"}}
    if "compute" in meaning:
        meaning["compute"] = compute_meaning(meaning["compute"])
    if "model" in meaning:
        meaning["model"] = model_meaning(meaning["model"])
    return meaning


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


def sample_key(config: Config, fit: str, n: int) -> str:
    """Of n synthetic rows: the fit, how it is asked, and the seed."""
    sampling = json.dumps(config["method"].get("sampling"), sort_keys=True)
    return stage_key(
        "sample", VERSIONS["sample"], fit=fit, sampling=sampling, n=n, seed=derive_seed(config["seed"], "sample")
    )


def score_key(config: Config, metric_config: Any, metric: Any, split_digest: str, synthetic_digest: str, fit: str) -> str:
    """Of a metric's values: its configuration and version, real and synthetic rows, generator, seed, and files it reads."""
    return stage_key(
        "score",
        VERSIONS["score"],
        metric=metric_config,
        split=split_digest,
        synthetic=synthetic_digest,
        fit=fit,
        seed=derive_seed(config["seed"], "score"),
        **({"metric_version": metric.version} if hasattr(metric, "version") else {}),
        **({"inputs": metric.digest_inputs(), "device": env.device_kind()} if hasattr(metric, "digest_inputs") else {}),
    )


def early_key(config: Config) -> str:
    """Of a cell that failed before it was known what its rows depend on."""
    identity = {name: config[name] for name in ("names", "dataset", "method", "n_samples", "seed")}
    return stage_key("cell", 1, **identity)
