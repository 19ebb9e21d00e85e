"""What each stage's result depends on, hashed into its name: equal keys, equal results."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harmonic import env
from harmonic.meaning import fit_meaning, metric_meaning
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
        method=fit_meaning(config["method"]),
        inputs=synthesizer.digest_inputs() if hasattr(synthesizer, "digest_inputs") else {},
        train=digest(getattr(split, getattr(synthesizer, "learns_from", "train"))),
        schema=split.schema.to_json(),
        seed=derive_seed(config["seed"], "fit"),
        device=env.device_kind(),
        **({"method_version": synthesizer.version} if hasattr(synthesizer, "version") else {}),
        **({"recipe": asdict(synthesizer.recipe)} if hasattr(synthesizer, "recipe") else {}),
    )


def sample_key(config: Config, synthesizer: Any, fit: str, n: int) -> str:
    """Of n synthetic rows: the fit, how it is asked, and the seed."""
    version = getattr(synthesizer, "sampling_version", None)
    return stage_key(
        "sample",
        VERSIONS["sample"],
        fit=fit,
        sampling=json.dumps(config["method"].get("sampling"), sort_keys=True),
        n=n,
        seed=derive_seed(config["seed"], "sample"),
        **({"method_version": version} if version is not None else {}),
    )


def score_key(config: Config, metric_config: Any, metric: Any, split_digest: str, synthetic_digest: str, fit: str) -> str:
    """Of a metric's values: its configuration and version, real and synthetic rows, generator, seed, and files it reads."""
    return stage_key(
        "score",
        VERSIONS["score"],
        metric=metric_meaning(metric_config),
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
