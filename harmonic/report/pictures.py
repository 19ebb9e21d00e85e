"""Which plots the records of a benchmark give, with what a reader must know of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harmonic.record import Record
from harmonic.report.entries import summarise
from harmonic.report.groups import REFERENCES, Group, group, titles
from harmonic.report.plots import draw_ranks, draw_shapes, draw_tradeoff
from harmonic.report.significance import LEVEL
from harmonic.report.standings import CRITERIA, Standing, standing
from harmonic.report.tables import holdout_values
from harmonic.report.tradeoff import Tradeoff, tradeoff

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MORE_ATTACKS = "Generators with likelihoods face three attacks more than the others."
TRAIN = "train rows"
"""The reference of column shapes: as many train rows in the synthetic ones' place."""


@dataclass(frozen=True)
class Picture:
    """A plot."""

    name: str
    """Of its file, without a data set."""
    title: str
    caption: str
    figure: "Figure"


def of_all(records: Sequence[Record]) -> list[Picture]:
    """Over data sets: a rank diagram for each criterion that two methods or more can be ranked by."""
    found = [(place, standing(records, criterion)) for place, criterion in enumerate(CRITERIA)]
    return [
        Picture(f"ranks_{place + 1}", f"Ranks, {one.criterion.title}", _about_ranks(one), draw_ranks(one.ranking))
        for place, one in found
        if one
    ]


def of_dataset(records: Sequence[Record]) -> list[Picture]:
    """Of one data set: utility against privacy, and the shape of each column; neither where the records lack the scores."""
    pictures = []
    if found := tradeoff(records):
        pictures.append(Picture("tradeoff", "Utility against privacy", _about_tradeoff(found), draw_tradeoff(found)))
    if shown := _shapes(records):
        pictures.append(Picture("shapes", "Column shapes", _about_shapes(shown[3]), draw_shapes(*shown[:3])))
    return pictures


def _about_ranks(found: Standing) -> str:
    ranking = found.ranking
    verdict = (
        "bars join methods whose mean ranks are nearer than the critical difference of Nemenyi's test."
        if ranking.p_value < LEVEL
        else "it finds no difference, so that no two are told apart."
    )
    parts = [
        f"Mean ranks over {', '.join(found.datasets)}, 1 is best. Friedman's test (Iman and Davenport): "
        f"p = {ranking.p_value:.2g}; {verdict}"
    ]
    if "mia_auc" in found.criterion.keys:
        parts.append(MORE_ATTACKS)
    if ranking.datasets < 5:
        parts.append(f"{ranking.datasets} data sets are few for such a test.")
    for what, names in (("Data sets", found.datasets_left_out), ("Methods", found.methods_left_out)):
        if names:
            parts.append(f"{what} left out, where a score is missing: {', '.join(names)}.")
    return " ".join(parts)


def _about_tradeoff(found: Tradeoff) -> str:
    parts = [
        "Bars are one standard deviation over seeds where there are several, else the score's own 95 % interval. The dashed "
        "line joins the methods that no other beats at both. Diamonds are what others are read against."
    ]
    if found.y == "mia_auc":
        drawn = any(point.name == "holdout" for point in found.points)
        parts.append(f"The strongest of several attacks is above .5 by chance{': holdout shows how far' if drawn else ''}.")
        parts.append(MORE_ATTACKS)
    if found.left_out:
        parts.append(f"Left out, where one of the two scores is missing: {', '.join(found.left_out)}.")
    return " ".join(parts)


def _about_shapes(left_out: Sequence[str]) -> str:
    about = (
        "How like the column of real test rows each column is, 0 to 1: 1 less the Kolmogorov-Smirnov (numbers, dates) or "
        f"total variation distance (categories). {TRAIN} is what as many real rows reach: no method can be asked for more."
    )
    return f"{about} Without these scores: {', '.join(left_out)}." if left_out else about


def _shapes(records: Sequence[Record]) -> tuple[list[str], list[str], np.ndarray, list[str]] | None:
    """Methods, columns, scores of shape (methods, columns), and methods left out; None where no record has any."""
    known = {key for record in records for key in record.values if key.startswith("shape:")}
    schemas = (record.data.get("schema", {}).get("columns", []) for record in records)
    ordered = dict.fromkeys(f"shape:{column['name']}" for columns in schemas for column in columns)
    keys = [*(key for key in ordered if key in known), *sorted(known - set(ordered))]
    if not keys:
        return None
    groups = group(records)
    lines = [(_first(row), name, _means(row, keys)) for row, name in zip(groups, titles(groups), strict=True)]
    shown = sorted(line for line in lines if not all(np.isnan(line[2])))
    by_seed = holdout_values(records).values()
    train = [_mean([values.get(key.replace("shape:", "shape_real:", 1)) for values in by_seed]) for key in keys]
    names, scores = [name for _, name, _ in shown], [means for *_, means in shown]
    if not all(np.isnan(train)):
        names, scores = [TRAIN, *names], [train, *scores]
    left_out = [name for _, name, means in lines if all(np.isnan(means))]
    return names, [key.partition(":")[2] for key in keys], np.array(scores), left_out


def _first(row: Group) -> int:
    """References come first."""
    method = row.records[0].cell.method
    return REFERENCES.index(method) if method in REFERENCES else len(REFERENCES)


def _means(row: Group, keys: Sequence[str]) -> list[float]:
    return [_mean(row.values(key)) for key in keys]


def _mean(values: Sequence[float | None]) -> float:
    """NaN where one is missing."""
    return summarise(values, 0).mean
