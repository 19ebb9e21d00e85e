"""What `method=harmonic model=base` is held to, and how far each of it is reached on the paper's tables."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harmonic.record import Record
from harmonic.report.entries import HOLE, summarise
from harmonic.report.groups import AS_TRAIN, Group, by_dataset, group, wrote_rows
from harmonic.report.published import published
from harmonic.report.significance import paired_interval
from harmonic.report.study import Fold, labelled
from harmonic.report.tables import holdout_values, to_markdown

METHOD, MODEL = "harmonic", "base"
REACHED = "reached"

UTILITY_GAP = 0.01
"""Of MLE F1, below the best baseline's."""
SHARE = (0.47, 0.53)
TAIL_RATIO = 1.5
"""Of the tail, to the hold-out's own."""
ATTACK = 0.55
NEAR_UTILITY = 0.02
"""Of weighted F1: baselines that have no less, but for so much, must not be harder to attack."""
ATTACK_KEY = re.compile(r"mia_\w+_auc")
DLT = 0.02
"""Bits a cell, on either side of 0."""
C2ST = 0.75

TITLE = "How far the goals are reached"
ON_TEST = (
    "method=harmonic model=base under its default budget, as many rows as train has, against every baseline of the same "
    "table: means over seeds, on test rows. Baselines have as many seeds as the other tables say; those of one seed count, "
    "too, and are marked 1. Behind ± is half of Student's 95 % interval over our seeds: what is missed or reached by less "
    "is not settled, nor is what other test rows would say, since those of all seeds are the same. Beside two verdicts "
    "stands what is no part of them: what the strongest attack comes to by chance, where membership means nothing, and how "
    "much of DLT is learnt. What was tried where a goal is missed: docs/study.md."
)
ON_FOLDS = (
    "The same by cross-validation, where test rows are few: each row of train and val stands for a test row once. Means "
    "over five folds, one seed each, against the baselines that were run on all of them; the test rows are left alone. The "
    "method was chosen on some of these folds (docs/study.md), which flatters it."
)
LEAST_FOLDS = 5


def goals_page(records: Sequence[Record], study: Sequence[Record] = ()) -> str:
    """The goals as Markdown; what is reached is bold. Arguments as of `sheets_of_goals`."""
    sheets = sheets_of_goals(records, study)
    return "\n\n".join([f"# {TITLE}", *(part for told, table in sheets for part in (told, _bold(table)))]) + "\n"


def sheets_of_goals(records: Sequence[Record], study: Sequence[Record] = ()) -> list[tuple[str, pd.DataFrame]]:
    """What there is to say of the goals and a table with a column per table of the paper: on test rows, then on folds.

    Args:
        records: of test rows.
        study: of folds, see `goals_on_folds`; where they are too few, that table is left out.
    """
    on_folds = goals_on_folds(study)
    return [(ON_TEST, goals(records)), *([(ON_FOLDS, on_folds)] if len(on_folds.columns) > 1 else [])]


def _bold(table: pd.DataFrame) -> str:
    return to_markdown(table.replace(f"^{REACHED}:", f"**{REACHED}**:", regex=True))


def goals(records: Sequence[Record]) -> pd.DataFrame:
    """A row per goal, a column per data set; a figure that is not there is a hole, and no goal is reached over it."""
    found = by_dataset(records)
    return _judged({name: _Contest.of(found[name]) for name in published().datasets if name in found})


def goals_on_folds(study: Sequence[Record]) -> pd.DataFrame:
    """As `goals`, of the data sets on five folds of which our method was run under its own name."""
    found = {dataset: _Contest.of_folds(labels) for dataset, labels in labelled(study).items()}
    return _judged({name: found[name] for name in published().datasets if found.get(name)})


def _judged(columns: Mapping[str, "_Contest | None"]) -> pd.DataFrame:
    rows = [
        {"goal": title, **{name: judge(contest) if contest else HOLE for name, contest in columns.items()}}
        for title, judge in GOALS
    ]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Contest:
    """A data set's records, by what part they have in the comparison."""

    ours: Group
    baselines: tuple[Group, ...]
    holdout: dict[int, dict[str, float]]
    """By seed, or by fold."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> "_Contest | None":
        """None where our method has no records."""
        whole = [row for row in group(records) if row.rows == AS_TRAIN]
        ours = [row for row in whole if (row.method, row.model) == (METHOD, MODEL)]
        rivals = tuple(row for row in whole if _is_baseline(row) and any(map(wrote_rows, row.records)))
        return cls(ours[0], rivals, holdout_values(records)) if ours else None

    @classmethod
    def of_folds(cls, labels: Mapping[str, Mapping[Fold, Record]]) -> "_Contest | None":
        """Of a data set's records by label and fold; None where there are too few folds of ours."""
        folds = labels.get(METHOD, {})
        if len(folds) < LEAST_FOLDS or any(record.config.get("n_samples") is not None for record in folds.values()):
            return None
        rows = [
            Group(label, some[0].cell.model, AS_TRAIN, tuple(some))
            for label, by_fold in labels.items()
            if by_fold.keys() >= folds.keys() and (some := [by_fold[fold] for fold in folds])
        ]
        ours = next(row for row in rows if row.method == METHOD)
        return cls(ours, tuple(filter(_is_baseline, rows)), dict(enumerate(record.values for record in ours.records)))

    def mean(self, key: str) -> float | None:
        """Of our seeds; None where one of them has a hole."""
        entry = summarise(self.ours.values(key), 3)
        return entry.mean if entry.state == "value" else None

    def told(self, key: str) -> str:
        """Our mean, and how far it is to either end of its interval over seeds."""
        values = [value for value in self.ours.values(key) if value is not None]
        if len(values) < 2:
            return _short(float(np.mean(values)))
        low, high = paired_interval(values)
        return f"{_short(float(np.mean(values)))} ± {_short((high - low) / 2)}"

    def as_useful(self) -> list[Group] | None:
        """The baselines of a weighted F1 at most `NEAR_UTILITY` below ours; None where ours, or our attacks, are a hole."""
        ours = self.mean("mle_f1_weighted")
        if ours is None or self.mean("mia_auc") is None:
            return None
        means = ((_mean(row, "mle_f1_weighted"), row) for row in self.baselines)
        return [row for mean, row in means if mean is not None and round(ours - mean, 3) <= NEAR_UTILITY]

    def unknown(self, useful: Sequence[Group]) -> list[Group]:
        """The baselines that might be as useful, and of the useful ones those that might be harder to attack."""
        return [
            row
            for row in self.baselines
            if not _is_whole(row, "mle_f1_weighted") or (row in useful and not _is_whole(row, "mia_auc"))
        ]


def _is_baseline(row: Group) -> bool:
    """Whether it is neither a reference nor a variant of ours."""
    target = str(row.records[0].config.get("method", {}).get("_target_", ""))
    return not (row.is_reference or row.method.startswith(METHOD) or target.startswith("harmonic."))


def _named(row: Group) -> str:
    """A baseline's name, with how many seeds it has where that is one."""
    return row.method if len(row.records) > 1 else f"{row.method} (1)"


def _mean(row: Group, key: str) -> float | None:
    """Of a baseline's seeds that have the score, by which a goal can be missed; where some lack it, none is reached."""
    values = [value for value in row.values(key) if value is not None and math.isfinite(value)]
    return float(np.mean(values)) if values else None


def _is_whole(row: Group, key: str) -> bool:
    """Whether all seeds have the score."""
    return summarise(row.values(key), 3).state == "value"


def _unless_unknown(gap: float, text: str, unknown: Sequence[Group]) -> str:
    """A verdict that nothing is reached beside baselines of which not all is known."""
    if unknown and round(gap, 3) <= 0:
        return f"{HOLE} ({', '.join(map(_named, unknown))})"
    return _verdict(gap, text)


def _verdict(gap: float, text: str) -> str:
    """Reached where the gap is not above 0, to the third place that is shown."""
    return f"{REACHED}: {text}" if round(gap, 3) <= 0 else f"missed by {_short(gap)}: {text}"


def _short(value: float) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.3f}")


def _utility(key: str) -> Callable[[_Contest], str]:
    def judge(contest: _Contest) -> str:
        mean = contest.mean(key)
        known = [(theirs, _named(row)) for row in contest.baselines if (theirs := _mean(row, key)) is not None]
        if mean is None or not known:
            return HOLE
        best, name = max(known)
        unknown = [row for row in contest.baselines if not _is_whole(row, key)]
        return _unless_unknown(best - UTILITY_GAP - mean, f"{contest.told(key)}, {name} {_short(best)}", unknown)

    return judge


def _between(key: str, low: float, high: float, beside: tuple[str, str] | None = None) -> Callable[[_Contest], str]:
    """Whether a score is within bounds; `beside`, words and the key of another one, is told where it is known."""

    def judge(contest: _Contest) -> str:
        mean = contest.mean(key)
        if mean is None:
            return HOLE
        more = f", {beside[0]} {contest.told(beside[1])}" if beside and contest.mean(beside[1]) is not None else ""
        return _verdict(max(low - mean, mean - high), contest.told(key) + more)

    return judge


def _tail(contest: _Contest) -> str:
    mean = contest.mean("dcr_tail")
    own = summarise([values.get("dcr_tail_holdout") for values in contest.holdout.values()], 3)
    if mean is None or own.state != "value":
        return HOLE
    return _verdict(mean - TAIL_RATIO * own.mean, f"{contest.told('dcr_tail')}, hold-out {_short(own.mean)}")


def _attack_beside(contest: _Contest) -> str:
    """The strongest attack on ours against that on each baseline that is as useful."""
    rivals, mean = contest.as_useful(), contest.mean("mia_auc")
    if rivals is None or mean is None:
        return HOLE
    areas = [(_named(row), mean, area) for row in rivals if (area := _mean(row, "mia_auc")) is not None]
    return _beside(areas, contest.unknown(rivals))


def _shared_attacks_beside(contest: _Contest) -> str:
    """The same over the attacks that both face: those on likelihoods are not among them where the baseline knows none."""
    rivals = contest.as_useful()
    if rivals is None:
        return HOLE
    areas, unknown = [], contest.unknown(rivals)
    for row in rivals:
        keys = _attacks(contest.ours) & _attacks(row)
        if keys:
            areas.append((_named(row), _strongest(contest.ours, keys), _strongest(row, keys)))
        elif row not in unknown:
            unknown.append(row)
    return _beside(areas, unknown)


def _beside(areas: Sequence[tuple[str, float, float]], unknown: Sequence[Group]) -> str:
    """A verdict on areas of ours and of each baseline by its name, with those of the baselines that are below ours."""
    if not areas and not unknown:
        return f"{REACHED}: no baseline is as useful"
    gap = max((ours - theirs for _, ours, theirs in areas), default=0.0)
    below: dict[str, list[str]] = {}
    for name, ours, theirs in sorted(areas, key=lambda area: area[2]):
        if round(theirs, 3) < round(ours, 3):
            below.setdefault(_short(ours), []).append(f"{name} {_short(theirs)}")
    told = "; ".join(", ".join([ours, *theirs]) for ours, theirs in below.items())
    return _unless_unknown(gap, told or _short(max((ours for _, ours, _ in areas), default=0.0)), unknown)


def _attacks(row: Group) -> set[str]:
    """Keys of the single attacks that all records of a row have, those aside that have none."""
    found = [{key for key in record.values if ATTACK_KEY.fullmatch(key)} for record in row.records]
    return set.intersection(*filter(None, found)) if any(found) else set()


def _strongest(row: Group, attacks: Collection[str]) -> float:
    """The mean over seeds of the greatest area."""
    known = [record for record in row.records if record.values.keys() >= set(attacks)]
    return float(np.mean([max(record.values[key] for key in attacks) for record in known]))


def _prompt_copy(contest: _Contest) -> str:
    shown = contest.mean("prompt_rows_shown")
    if shown == 0:
        return f"{REACHED}: nothing of train is shown"
    ends = [contest.mean(f"prompt_copy_drawn{end}") for end in ("", "_low", "_high")]
    if None in ends:
        return HOLE
    mean, low, high = (end for end in ends if end is not None)
    seeds = [value for value in contest.ours.values("prompt_copy_drawn") if value is not None]
    if len(seeds) > 1:  # one record's interval is of its rows, not of the mean
        low, high = paired_interval([value - 0.5 for value in seeds])
        low, high = low + 0.5, high + 0.5
    return _verdict(0 if low <= 0.5 <= high else abs(mean - 0.5), f"{_short(mean)} are nearer to what was shown")


GOALS: tuple[tuple[str, Callable[[_Contest], str]], ...] = (
    (f"MLE, weighted F1: the best baseline's - {_short(UTILITY_GAP)}", _utility("mle_f1_weighted")),
    ("the same, macro F1", _utility("mle_f1_macro")),
    ("DCR share within {} and {}".format(*map(_short, SHARE)), _between("dcr_share", *SHARE)),
    (f"tail at most {TAIL_RATIO} times the hold-out's", _tail),
    (f"strongest attack at most {_short(ATTACK)}", _between("mia_auc", 0.0, ATTACK, ("by chance", "mia_auc_chance"))),
    (f"and not above a baseline's whose weighted F1 is at most {_short(NEAR_UTILITY)} less", _attack_beside),
    ("the same over attacks that both face", _shared_attacks_beside),
    (f"DLT within {_short(DLT)} bits a cell of 0", _between("dlt", -DLT, DLT, ("learnt", "dlt_learnt"))),
    ("prompt copy at chance", _prompt_copy),
    (f"C2ST at most {_short(C2ST)}", _between("c2st_auc", 0.0, C2ST)),
)
