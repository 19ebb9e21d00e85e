"""Methods over several data sets: which can be ranked together, and how."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmonic.record import Record
from harmonic.report.entries import summarise
from harmonic.report.groups import Group, by_dataset, group, usual_rows
from harmonic.report.significance import Ranking, rank


@dataclass(frozen=True)
class Criterion:
    """What methods are ranked by."""

    title: str
    keys: tuple[str, ...]
    """The first that a method has counts: classes have F1, numbers R²."""
    ideal: float | None = None
    """The nearer the better; None where greater is better."""


CRITERIA = (
    Criterion("utility: MLE, F1 macro or R²", ("mle_f1_macro", "mle_r2")),
    Criterion("fidelity: AUC of a classifier that tells the rows from real ones, nearest to .5", ("c2st_auc",), 0.5),
    Criterion("privacy: AUC of the strongest membership attack, nearest to .5", ("mia_auc",), 0.5),
)

MOST_CHOICES = 1000
"""Of methods to rank together: their number can double with each data set."""


@dataclass(frozen=True)
class Standing:
    """Methods ranked by one criterion over the data sets where all of them have it."""

    criterion: Criterion
    ranking: Ranking
    datasets: tuple[str, ...]
    datasets_left_out: tuple[str, ...]
    """Too few methods have the score there."""
    methods_left_out: tuple[str, ...]
    """They lack it on one of the data sets, or have it in several configurations."""


def standing(records: Sequence[Record], criterion: Criterion) -> Standing | None:
    """Methods ranked by a criterion; None where no two data sets have two methods in common.

    Ranks ask every method on every data set. Of all choices of two data sets or more, with the methods that have no hole on
    them, the one with the most results counts, and of equal ones that with more data sets; where data sets lack so many
    different methods that there are thousands of choices, the best that a search among the most promising finds. Folds of
    one data set share their rows and are no data sets for such a test: they are left out. References are not ranked, nor
    methods of other numbers of rows than most; each counts by its mean over seeds, and one with several configurations on a
    data set is none that could be named.
    """
    whole = [record for record in records if record.config.get("dataset", {}).get("fold") is None]
    losses = {dataset: _losses(some, criterion) for dataset, some in by_dataset(whole).items()}
    losses = {dataset: found for dataset, found in losses.items() if found}
    names = sorted(set().union(*losses.values()))
    best: tuple[tuple[str, ...], list[str]] = ((), [])
    for shared in _shared_by(losses):
        datasets = tuple(dataset for dataset, found in losses.items() if shared <= found.keys())
        size, largest = (len(datasets) * len(shared), len(datasets)), (len(best[0]) * len(best[1]), len(best[0]))
        if len(datasets) >= 2 and len(shared) >= 2 and size > largest:
            best = (datasets, sorted(shared))
    datasets, ranked = best
    if not datasets:
        return None
    ranking = rank({name: [losses[dataset][name] for dataset in datasets] for name in ranked})
    return Standing(
        criterion,
        ranking,
        datasets,
        tuple(dataset for dataset in losses if dataset not in datasets),
        tuple(name for name in names if name not in ranked),
    )


def _shared_by(losses: Mapping[str, Mapping[str, float]]) -> list[frozenset[str]]:
    """The methods that some of the data sets have in common, each set of them once, larger ones first, then by name.

    Of more than `MOST_CHOICES` sets those count that have the most results, each time that a data set has been looked at.
    """

    def results(shared: frozenset[str]) -> tuple[int, list[str]]:
        return -len(shared) * sum(shared <= found.keys() for found in losses.values()), sorted(shared)

    sets: set[frozenset[str]] = set()
    for found in losses.values():
        own = frozenset(found)
        sets |= {own} | {own & other for other in sets}
        if len(sets) > MOST_CHOICES:
            sets = set(sorted(sets, key=results)[:MOST_CHOICES])
    return sorted(sets, key=lambda shared: (-len(shared), sorted(shared)))


def _losses(records: Sequence[Record], criterion: Criterion) -> Mapping[str, float]:
    """What each method of a data set that can be ranked falls short by."""
    groups = group(records)
    usual = usual_rows(groups)
    rows = [row for row in groups if not row.is_reference and row.rows == usual]
    counts = Counter(map(_name, rows))
    losses = {}
    for row in rows:
        entries = [summarise(row.values(key), 0) for key in criterion.keys]
        means = [entry.mean for entry in entries if entry.state == "value"]
        if means and counts[_name(row)] == 1:
            losses[_name(row)] = -means[0] if criterion.ideal is None else abs(means[0] - criterion.ideal)
    return losses


def _name(row: Group) -> str:
    """A method across data sets: its name and model, whatever its configuration there."""
    cell = row.records[0].cell
    return f"{cell.method} ({row.model})" if row.model else cell.method
