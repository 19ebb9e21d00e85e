"""What every metric costs: seconds and memory on a table as large as train, with libraries beside ours.

    python scripts/bench_metrics.py dataset=adult [metrics=dcr,mia] [threads=1] [seed=0] [out=results/bench]

Each metric runs in a process of its own on synthetic rows as many as train's (independent columns), and on a HARMONIC that
has seen ten steps, where it asks the generator: cost does not hang on what was learnt. Libraries run on the same rows where
they compute the same, and on a few of them where they would take hours. Writes <out>/metrics_<dataset>.json and .md after
each figure; figures that are there and were not asked for stay, each with the commit that it was measured on.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harmonic import env
from harmonic.arguments import interruptible, read_arguments
from harmonic.errors import BadInput
from harmonic.metrics.attacks.anonymeter import Anonymeter
from harmonic.metrics.attacks.canaries import Canaries
from harmonic.metrics.attacks.membership import MembershipInference
from harmonic.metrics.attacks.prompt_copy import PromptCopy
from harmonic.metrics.distance import (
    DistanceToClosestRecord,
    NearestNeighbourDistanceRatio,
    NewRowSynthesis,
)
from harmonic.metrics.distance_published import PublishedDistanceToClosestRecord, PublishedNewRowSynthesis
from harmonic.metrics.fidelity import Fidelity
from harmonic.metrics.leakage import DataLeakageTest
from harmonic.metrics.leakage_published import PublishedDataLeakageTest
from harmonic.metrics.llm_utility import LanguageModelEfficacy
from harmonic.metrics.manifold import AlphaPrecisionBetaRecall
from harmonic.metrics.two_sample import ClassifierTwoSampleTest
from harmonic.metrics.utility import MachineLearningEfficacy
from harmonic.metrics.utility_published import PublishedMachineLearningEfficacy
from harmonic.metrics.validity import Validity
from harmonic.report.tables import HOLE, to_markdown
from harmonic.seed import derive_seed
from harmonic.store import check_writable, write_atomically
from harmonic.table import Split

DEFAULTS = {"dataset": "", "metrics": "", "threads": 1, "seed": 0, "out": "results/bench"}
METRICS: dict[str, Callable[[], Any]] = {
    "mle": MachineLearningEfficacy,
    "lle": LanguageModelEfficacy,
    "fidelity": Fidelity,
    "c2st": ClassifierTwoSampleTest,
    "manifold": AlphaPrecisionBetaRecall,
    "validity": Validity,
    "dcr": DistanceToClosestRecord,
    "nndr": NearestNeighbourDistanceRatio,
    "nrs": NewRowSynthesis,
    "dlt": DataLeakageTest,
    "mia": MembershipInference,
    "anonymeter": Anonymeter,
    "prompt_copy": PromptCopy,
    "canaries": Canaries,
    "mle_published": PublishedMachineLearningEfficacy,
    "dcr_published": PublishedDistanceToClosestRecord,
    "nrs_published": PublishedNewRowSynthesis,
    "dlt_published": PublishedDataLeakageTest,
}
"""All but `lle_published`, which is the cost of its model."""
ASK_GENERATOR = {"dlt", "mia", "prompt_copy", "canaries", "dlt_published"}
FEW = 100
"""Rows that a library which would take hours is timed on."""


@dataclass(frozen=True)
class Task:
    """What a child measures."""

    name: str
    dataset: str
    seed: int
    threads: int
    generator: Path | None
    """Folder of a saved HARMONIC; None where only rows are looked at."""


def main(arguments: list[str]) -> int:
    """Measure; a wrong argument or data set is one line and exit status 1."""
    try:
        options = read_arguments(arguments, DEFAULTS, ["dataset"])
        chosen = [name for name in options["metrics"].split(",") if name] or [*METRICS, *LIBRARIES]
        unknown = sorted(set(chosen) - {*METRICS, *LIBRARIES})
        if unknown:
            raise BadInput(f"metrics must name some of {', '.join([*METRICS, *LIBRARIES])}, but names {', '.join(unknown)}.")
        check_writable("out", Path(options["out"]))
        env.set_threads(options["threads"])
        file = Path(options["out"]) / f"metrics_{Path(options['dataset']).stem}.json"
        measure(options["dataset"], chosen, options["seed"], options["threads"], file)
    except BadInput as error:
        print(f"bench_metrics.py: {error}", file=sys.stderr)
        return 1
    print(file)
    return 0


def measure(dataset: str, chosen: list[str], seed: int, threads: int, file: Path) -> None:
    """Seconds and memory of each, written as they come."""
    from harmonic.datasets import load_dataset
    from harmonic.method import Harmonic

    split = load_dataset(dataset, seed=seed)
    figures = json.loads(file.read_text())["figures"] if file.exists() else {}
    sizes = {part: len(table) for part, table in (("train", split.train), ("val", split.val), ("test", split.test))}
    with tempfile.TemporaryDirectory() as folder:
        if set(chosen) & ASK_GENERATOR:
            Harmonic(budget="smoke").fit(split.train, seed=seed).save(Path(folder))
        for name in chosen:
            task = Task(name, dataset, seed, threads, Path(folder) if name in ASK_GENERATOR else None)
            figures[name] = {**_in_child(task), "commit": env.commit()}
            print(f"{name:<20} {figures[name]}", flush=True)
            ordered = {each: figures[each] for each in (*METRICS, *LIBRARIES) if each in figures}
            found = {"dataset": dataset, "rows": sizes, "figures": ordered, "env": env.describe()}
            write_atomically(file, json.dumps(found, indent=1) + "\n")
            write_atomically(file.with_suffix(".md"), to_page(found))


def _in_child(task: Task) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(task, sender))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return {"error": "its process died"}
    finally:
        child.join()


def _work(task: Task, sender: Connection) -> None:
    """In the child: prepare, measure, and send."""
    from baselines.independent import Independent
    from harmonic.datasets import load_dataset
    from harmonic.method import Harmonic

    env.set_threads(task.threads)
    split = load_dataset(task.dataset, seed=task.seed)
    synthetic = Independent().fit(split.train, seed=task.seed).sample(len(split.train), seed=task.seed)
    try:
        if task.name in LIBRARIES:
            sender.send(LIBRARIES[task.name](split, synthetic))
            return
        generator = None
        if task.generator is not None:
            generator = Harmonic(budget="smoke").load(task.generator)
            generator.prompt_rows = np.array([generator.shown_rows(number, task.seed) for number in range(len(synthetic))])
        metric = METRICS[task.name]()
        seconds = timed(lambda: metric(split, synthetic, seed=derive_seed(task.seed, "score"), synthesizer=generator))
        sender.send({"seconds": seconds, "peak_mb": peak_mb()})
    except BadInput as error:
        sender.send({"error": str(error)})


def timed(work: Callable[[], Any]) -> float:
    """Seconds it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_mb() -> float:
    """Largest resident size of this process, libraries and tables included, or of a child of it, whichever is larger.

    The process's own is read where the kernel keeps it: `getrusage` would count the parent it was forked from.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def sdmetrics_quality(split: Split, synthetic: pd.DataFrame) -> dict[str, Any]:
    """SDMetrics' quality report: column shapes and pair trends, as in `fidelity`, against one table instead of two."""
    from sdmetrics.reports import QualityReport

    tables = [{"rows": split.test}, {"rows": synthetic}, {"tables": {"rows": _metadata(split)}}]
    seconds = timed(lambda: QualityReport().generate(*tables, verbose=False))
    return {"seconds": seconds, "peak_mb": peak_mb(), "beside": "fidelity"}


def sklearn_dcr(split: Split, synthetic: pd.DataFrame) -> dict[str, Any]:
    """scikit-learn's brute force for the distance of `dcr`, to train alone: scaled numbers and halved one-hot categories."""
    from sklearn.neighbors import NearestNeighbors

    from harmonic.neighbours import closest

    encoded = [split.encoder.encode(table) for table in (synthetic, split.train)]
    codes = [
        [one.codes[:, place, None] == np.unique(encoded[1].codes[:, place]) for one in encoded]
        for place in range(encoded[0].codes.shape[1])
    ]
    rows, train = (np.hstack([one.numbers, *(pair[side] / 2 for pair in codes)]) for side, one in enumerate(encoded))
    found: list[np.ndarray] = []

    def search() -> None:
        search = NearestNeighbors(n_neighbors=1, algorithm="brute", metric="manhattan").fit(train)
        found.append(search.kneighbors(rows)[0][:, 0])

    seconds = timed(search)
    ours = timed(lambda: found.append(closest(*encoded)[0]))
    differ = float(np.abs(found[0] - found[1]).max())
    return {"seconds": seconds, "peak_mb": peak_mb(), "beside": "dcr", "ours_seconds": ours, "greatest_difference": differ}


def sdmetrics_dcr(split: Split, synthetic: pd.DataFrame) -> dict[str, Any]:
    """SDMetrics' distances to the closest record, on a few rows: it joins every row with every row."""
    from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

    few = synthetic.head(FEW)
    seconds = timed(lambda: calculate_dcr(few, split.train, _metadata(split)))
    whole = seconds * len(synthetic) / len(few)
    return {"seconds": whole, "peak_mb": peak_mb(), "beside": "dcr", "extrapolated_from_rows": len(few)}


def _metadata(split: Split) -> dict[str, Any]:
    """The columns in SDMetrics' words."""
    kinds = {column.name: "numerical" if column.is_numeric else "categorical" for column in split.schema.columns}
    return {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}


LIBRARIES: dict[str, Callable[[Split, pd.DataFrame], dict[str, Any]]] = {
    "SDMetrics QualityReport": sdmetrics_quality,
    "scikit-learn brute force": sklearn_dcr,
    "SDMetrics DCR": sdmetrics_dcr,
}


def to_page(found: dict[str, Any]) -> str:
    """The table, with how it was made."""
    rows, machine, figures = found["rows"], found["env"], found["figures"]
    commits = ", ".join(sorted({one["commit"] or "unknown" for one in figures.values()}))
    intro = (
        f"`python scripts/bench_metrics.py dataset={found['dataset']}`: {rows['train']} synthetic rows against "
        f"{rows['train']} train and {rows['test']} test rows, {machine['threads']} thread of {machine['device']}, "
        f"commits {commits}. Peak memory is that of the process, libraries and tables included."
    )
    lines = [
        {"metric": name, "seconds": HOLE, "peak MB": HOLE, "": one["error"]}
        if "error" in one
        else {"metric": name, "seconds": f"{one['seconds']:.1f}", "peak MB": f"{one['peak_mb']:.0f}", "": _note(one)}
        for name, one in figures.items()
    ]
    total = sum(one["seconds"] for name, one in figures.items() if name in METRICS and "seconds" in one)
    lines.append({"metric": "all of ours", "seconds": f"{total:.0f}", "peak MB": "", "": ""})
    return f"# What the metrics cost on {found['dataset']}\n\n{intro}\n\n{to_markdown(pd.DataFrame(lines))}\n"


def _note(figures: dict[str, Any]) -> str:
    """What a library computes, and how it was timed."""
    parts = [f"computes what {figures['beside']} does"] if "beside" in figures else []
    if "extrapolated_from_rows" in figures:
        parts.append(f"extrapolated from {figures['extrapolated_from_rows']} rows")
    if "ours_seconds" in figures:
        parts.append(
            f"ours {figures['ours_seconds']:.1f} s, distances differ by {figures['greatest_difference']:.0e} at most"
        )
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(interruptible(main, "what was measured is written"))
