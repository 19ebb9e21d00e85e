"""What a large table costs before the first training step: its neighbours, its groups, and its stream of instructions.

    python scripts/bench_scale.py rows=1000000 [threads=2] [queries=500] [batches=200] [seed=0] [out=results/bench]

The table is synthetic: six numbers (two skewed, two whole, two plain) and eight categories of 2 to 40 values, each made of
four hidden normal factors and noise of its own, and a binary label of them, so that columns depend on each other and rows
have neighbours worth the name.

Stages, each with its seconds, those that its threads had of the processor (the figure to go by on a busy machine), and the
largest resident size since it began: the table, its schema, its arrays, the exact search of `queries` rows among all, the
approximate search of all rows, the groups of a run of model=base, whose steps are capped, the lengths that the plan of
batches needs, the start of the run (model, tokenizer, limits of sampling), and `batches` batches of its instructions with
their tokens. Neighbours are of a row's class, and k of them, as HARMONIC's pools of a run over every row are. Recall is the
share of the k nearest that the approximate search finds, of equally near rows any; its interval is over the rows asked.
Writes <out>/scale_<rows>.json: stages, recall, and sums of what a run over every row takes and of what a capped run takes.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harmonic import env
from harmonic.arguments import interruptible, read_arguments
from harmonic.costs import measured
from harmonic.errors import BadInput, check_at_least
from harmonic.store import check_writable, write_atomically

DEFAULTS = {"rows": 0, "threads": 2, "queries": 500, "batches": 200, "seed": 0, "out": "results/bench"}
FACTORS = 4
NUMBERS = 6
CATEGORIES = (2, 3, 4, 6, 8, 12, 20, 40)


def main(arguments: list[str]) -> int:
    """Measure; a wrong argument is one line and exit status 1."""
    try:
        options = read_arguments(arguments, DEFAULTS, ["rows"])
        for name in ("queries", "batches"):
            check_at_least(name, options[name], 1)
        check_at_least("rows", options["rows"], 2000)
        check_writable("out", Path(options["out"]))
        env.set_threads(options["threads"])
        found = measure(options["rows"], options["queries"], options["batches"], options["seed"])
    except BadInput as error:
        print(f"bench_scale.py: {error}", file=sys.stderr)
        return 1
    file = Path(options["out"]) / f"scale_{options['rows']}.json"
    write_atomically(file, json.dumps(found, indent=1) + "\n")
    spent, recall = found["every_row"]["seconds"], found["recall"]["mean"]
    print(f"{file}: {spent:.0f} s over every row, {found['peak_memory_mb']:.0f} MB, recall {recall:.3f}")
    return 0


def measure(rows: int, queries: int, batches: int, seed: int) -> dict[str, Any]:
    """Every stage's seconds and memory, and the recall, in JSON's types."""
    from harmonic.lm.batches import collate
    from harmonic.method import Harmonic
    from harmonic.method.examples import default_pool
    from harmonic.neighbours import found_share, mixed_neighbours, paired
    from harmonic.table.encoding import Encoder
    from harmonic.table.infer import infer_schema
    from harmonic.table.schema import attach

    k, stages = default_pool(rows, rows), _Stages()
    with stages.stage("table"):
        table = make_table(rows, seed)
    with stages.stage("schema"):
        schema = infer_schema(table)
        attach(table, schema)
    with stages.stage("encoding"):
        encoder = Encoder.fit(table, schema)
        encoded = encoder.encode(table)
    asked = np.sort(np.random.default_rng(seed).choice(rows, min(queries, rows), replace=False))
    with stages.stage("exact", rows=len(asked)):
        exact = mixed_neighbours(encoder, table.iloc[asked], table, k, within_class=True, own=asked, search="exact")
    with stages.stage("approximate", rows=rows):
        every = np.arange(rows)
        found = mixed_neighbours(encoder, table, table, k, within_class=True, own=every, search="approximate")
    each = np.repeat(asked, k)
    near, true = (
        paired(encoded[each], encoded[numbers.ravel()]).reshape(numbers.shape) for numbers in (found[asked], exact)
    )
    del encoded, found
    harmonic = Harmonic()
    with stages.stage("groups"):
        harmonic.prepare(table, seed)
    with stages.stage("lengths", rows=rows):
        assert harmonic.cells.lengths.shape == (rows, len(schema.columns))
    with stages.stage("start"):
        harmonic.load_model(seed)
    training = harmonic.training.for_context(harmonic.model)
    tokens = made = 0
    with stages.stage("stream"):
        for _, batch in zip(range(batches), harmonic.instructions.batches(training, seed), strict=False):
            tokens += int(collate(batch, harmonic.encoder, training)["lengths"].sum())
            made += len(batch)
    stages.costs["stream"] |= {"instructions": made, "tokens": tokens}
    return {
        "rows": rows,
        "columns": len(schema.columns),
        "k": k,
        "k_capped_run": harmonic.groups.neighbours.shape[1],
        "seed": seed,
        "recall": _with_interval(found_share(near, true)),
        "every_row": stages.sums("schema", "approximate", "lengths", "start", "stream"),
        "capped_run": stages.sums("schema", "groups", "lengths", "start", "stream"),
        "peak_memory_mb": max(cost["peak_memory_mb"] for cost in stages.costs.values()),
        "stages": stages.costs,
        "load": os.getloadavg()[1],
        "env": env.describe(),
    }


def make_table(rows: int, seed: int) -> pd.DataFrame:
    """The synthetic table: `rows` rows of six numbers, eight categories and a label, dependent on each other."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, FACTORS))

    def mixture(noise: float) -> np.ndarray:
        weights = rng.normal(size=FACTORS)
        return factors @ (weights / np.linalg.norm(weights)) + noise * rng.normal(size=rows)

    columns: dict[str, np.ndarray] = {}
    for number in range(NUMBERS):
        value = mixture(0.5)
        forms = (np.round(10 * np.exp(value), 2), np.round(50 + 20 * value).astype(np.int64), np.round(value, 3))
        columns[f"number_{number}"] = forms[number % len(forms)]
    for values in CATEGORIES:
        rank = np.argsort(np.argsort(mixture(0.7))) / rows
        names = np.array([f"value {value}" for value in range(values)], dtype=object)
        columns[f"of_{values}"] = names[(rank**1.5 * values).astype(np.int64)]
    odds = np.exp(2 * factors[:, 0] - factors[:, 1] * factors[:, 2])
    columns["label"] = np.array(["no", "yes"], dtype=object)[(rng.random(rows) < odds / (1 + odds)).astype(np.int64)]
    return pd.DataFrame(columns)


class _Stages:
    """Costs by stage, in their order."""

    def __init__(self) -> None:
        self.costs: dict[str, dict[str, Any]] = {}

    def sums(self, *names: str) -> dict[str, float]:
        """Seconds of some stages together."""
        return {unit: sum(self.costs[name][unit] for name in names) for unit in ("seconds", "cpu_seconds")}

    @contextmanager
    def stage(self, name: str, **facts: int) -> Iterator[None]:
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder, measured(Path(folder) / "log") as cost:
            yield
        spent = time.process_time() - started
        self.costs[name] = {
            "seconds": cost.seconds,
            "cpu_seconds": spent,
            "peak_memory_mb": cost.peak_memory_mb,
            **facts,
        }
        print(f"{name:<12} {cost.seconds:8.1f} s {spent:8.1f} s of CPU {cost.peak_memory_mb:8.0f} MB", flush=True)


def _with_interval(shares: np.ndarray) -> dict[str, float]:
    """Mean of a share over rows, with its 95 % interval by the normal approximation."""
    mean, half = float(shares.mean()), 1.96 * float(shares.std(ddof=1)) / len(shares) ** 0.5
    return {"mean": mean, "low": mean - half, "high": min(1.0, mean + half), "rows": len(shares)}


if __name__ == "__main__":
    sys.exit(interruptible(main))
