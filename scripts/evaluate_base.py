"""What the base model makes of a table before and after fine-tuning, beside simple guesses.

    python scripts/evaluate_base.py dataset=diabetes [model=base] [fine_tune=true] [rows=500] [seed=0] [threads=1]
                                    [out=results/base]

Writes <out>/<dataset>.json, of another model <out>/<dataset>_<model>.json: bits per cell of test rows, over all columns and
by column, without fine-tuning for k = 0, 1, 3, 5, 8 real neighbours and after fine-tuning on such instructions by a recipe
of its own, beside the yardsticks of `harmonic.metrics.yardsticks` (both of numbers as the method writes them,
`harmonic.method.rewriting`); the same under the sampler's masks, as rows are drawn (mixed with one part in a thousand of the
likelihood without, so that a value beyond train's domain, which they forbid, is not infinitely wrong; the yardsticks know
the domain in the same way); and the share of rows that obey the schema when the model writes them freely, keys and all.
dataset=prior takes tables of the prior that pre-training never drew. A model is the shipped one or a folder that
scripts/pretrain_base.py wrote.
"""

import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harmonic import env
from harmonic.arguments import interruptible, read_arguments
from harmonic.errors import BadInput, check_count
from harmonic.store import check_writable, write_atomically

DEFAULTS = {
    "dataset": "",
    "model": "base",
    "fine_tune": True,
    "rows": 500,
    "seed": 0,
    "threads": 1,
    "out": "results/base",
}
SHOTS = (1, 3, 5, 8)
PRIOR_TABLES = 20
HELD_OUT = 2**40
"""First word of the seeds of held-out tables: no seed of pre-training is that large."""
FORBIDDEN_SHARE = 0.001
"""Part of the likelihood without masks in that under them."""
K = 5
"""Examples of the method's default, which the yardsticks are given too."""
FINE_TUNING = {
    "loss_on": "all",
    "epochs": 8,
    "min_steps": 150,
    "max_steps": 800,
    "learning_rate": 2e-3,
    "warmup": 0.05,
    "weight_decay": 0.01,
    "max_length": 4096,
}
"""Long enough for rows that are written freely to be valid. The method's own recipe leaves validity to masks, and stops
before it remembers rows."""


def main(arguments: list[str]) -> int:
    """Evaluate; a wrong argument or data set is one line and exit status 1."""
    try:
        options = read_arguments(arguments, DEFAULTS, ["dataset"])
        check_count("rows", options["rows"], PRIOR_TABLES if options["dataset"] == "prior" else 1)
        check_writable("out", Path(options["out"]))
        env.set_threads(options["threads"])
        result = evaluate(**{name: options[name] for name in ("dataset", "model", "rows", "seed", "fine_tune")})
    except BadInput as error:
        print(f"evaluate_base.py: {error}", file=sys.stderr)
        return 1
    which = "" if options["model"] == "base" else f"_{Path(options['model']).name}"
    file = Path(options["out"]) / f"{Path(options['dataset']).stem}{which}.json"
    write_atomically(file, json.dumps(result, indent=1) + "\n")
    print(f"{file}\n" + "\n".join(f"  {name:<22} {value:.3f}" for name, value in result["bits_per_cell"].items()))
    print("\n".join(f"  valid, {name:<15} {value:.3f}" for name, value in result["validity"].items()))
    return 0


def evaluate(dataset: str, model: str, rows: int, seed: int, fine_tune: bool) -> dict[str, Any]:
    """All figures of one table, or of PRIOR_TABLES tables of the prior, in JSON's types; at most `rows` test rows in all."""
    from harmonic.datasets import load_dataset
    from harmonic.lm.batches import Training
    from harmonic.lm.load import BASE

    backbone = replace(BASE, path=model, training=Training(**FINE_TUNING))
    if dataset == "prior":
        splits, rows = [prior_split(number) for number in range(PRIOR_TABLES)], rows // PRIOR_TABLES
    else:
        splits = [load_dataset(dataset, seed=seed)]
    results = [_evaluate_split(split, backbone, rows, seed, fine_tune) for split in splits]
    columns = results[0]["bits_by_column"] if len(splits) == 1 else {}
    return {
        "dataset": dataset,
        "tables": len(splits),
        "rows": sum(result["rows"] for result in results),
        "seed": seed,
        "model": model,
        "digests": backbone.digest_inputs(),
        "bits_per_cell": _means([result["bits_per_cell"] for result in results]),
        "bits_by_column": columns,
        "validity": _means([result["validity"] for result in results]),
        "costs": _means([result["costs"] for result in results]),
        "env": env.describe(),
    }


def _means(figures: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([figure[name] for figure in figures])) for name in figures[0]}


def prior_split(number: int) -> Any:
    """A table of the prior whose generator pre-training does not use, in three parts."""
    from harmonic.lm.base.prior import Ranges, draw_table
    from harmonic.table import Split, schema_of

    table = draw_table(np.random.default_rng([HELD_OUT, number]), Ranges(rows=(400, 1500)))
    cuts = [0, int(0.7 * len(table)), int(0.8 * len(table)), len(table)]
    parts = [table.iloc[start:stop].reset_index(drop=True) for start, stop in itertools.pairwise(cuts)]
    return Split(f"prior {number}", schema_of(table), *parts)


def _evaluate_split(split: Any, backbone: Any, rows: int, seed: int, fine_tune: bool) -> dict[str, Any]:
    from harmonic.method import Harmonic
    from harmonic.method.sampling import Sampling
    from harmonic.metrics.leakage import bits_per_cell
    from harmonic.metrics.yardsticks import yardsticks
    from harmonic.seed import derive_seed

    rng = np.random.default_rng(derive_seed(seed, "evaluate"))
    val = np.sort(rng.choice(len(split.val), min(1000, len(split.val)), replace=False))
    test = np.sort(rng.choice(len(split.test), min(rows, len(split.test)), replace=False))
    scored = split.test.iloc[test].reset_index(drop=True)
    cells: dict[str, np.ndarray] = {}
    settings: dict[str, Any] = {"examples": "neighbours", "least_read": None, "sampling": Sampling("neighbours")}
    for k in SHOTS:
        harmonic = Harmonic(backbone, k=k, **settings).start(split.train, derive_seed(seed, "fit"))
        if k == SHOTS[0]:
            cells["zero-shot, k = 0"] = bits_per_cell(harmonic.log_likelihood(scored, seed=seed, without_examples=True))
        cells[f"zero-shot, k = {k}"] = bits_per_cell(harmonic.log_likelihood(scored, seed=seed))
    harmonic = Harmonic(backbone, k=K, **settings).start(split.train, derive_seed(seed, "fit"))
    cells["zero-shot, masks"] = masked_bits(harmonic, scored, seed)
    examples = [harmonic.nearest_train_rows(table) for table in (split.val.iloc[val].reset_index(drop=True), scored)]
    guesses = yardsticks(harmonic.rewriting.write_split(split), *examples, val, test)
    cells |= {"marginal": guesses.marginal, "copy": guesses.copy, "copy or marginal": guesses.copy_or_marginal}
    validity = {"zero-shot": free_validity(harmonic, rows, seed)}
    costs: dict[str, float] = {}
    if fine_tune:
        started = time.perf_counter()
        harmonic.fit(split.train, seed=derive_seed(seed, "fit"))
        costs = {"time_fit_s": time.perf_counter() - started, "batches": harmonic.report["batches"]}
        cells["fine-tuned"] = bits_per_cell(harmonic.log_likelihood(scored, seed=seed))
        cells["fine-tuned, masks"] = masked_bits(harmonic, scored, seed)
        validity["fine-tuned"] = free_validity(harmonic, rows, seed)
    by_column = {
        name: dict(zip(split.schema.names, bits.mean(axis=0).round(3).tolist(), strict=True)) for name, bits in cells.items()
    }
    return {
        "rows": len(scored),
        "bits_per_cell": {name: float(bits.mean()) for name, bits in cells.items()},
        "bits_by_column": by_column,
        "validity": validity,
        "costs": costs,
    }


def masked_bits(harmonic: Any, rows: Any, seed: int) -> np.ndarray:
    """Bits of each cell as the sampler draws it, with a share for what its masks forbid; float64, shape (n, c)."""
    from harmonic.metrics.leakage import bits_per_cell

    under, without = (harmonic.log_likelihood(rows, seed=seed, masks=masks) for masks in (True, False))
    return bits_per_cell(np.logaddexp(under + np.log(1 - FORBIDDEN_SHARE), without + np.log(FORBIDDEN_SHARE)))


def free_validity(harmonic: Any, rows: int, seed: int) -> float:
    """Share of `rows` rows that parse and obey the schema when the model writes them freely, at temperature 1."""
    from harmonic.codec import Unreadable
    from harmonic.lm.decoding import Decoding
    from harmonic.lm.sampler import sample_rows

    written = sample_rows(
        harmonic.writer(Decoding(form="free"), seed),
        lambda number: harmonic.prompt(number, seed),
        lambda text: {"text": text},
        rows,
        compute=harmonic.compute,
    )

    def is_valid(text: str) -> bool:
        try:
            harmonic.read_row(text)
        except Unreadable:
            return False
        return True

    return float(np.mean([is_valid(row["text"]) for row in written.rows]))


if __name__ == "__main__":
    sys.exit(interruptible(main))
