"""The README's table of results: on each paper table ours, the published recipe, and what they are read against."""

from collections.abc import Sequence

import pandas as pd

from harmonic.errors import BadInput
from harmonic.record import Record
from harmonic.report.entries import HOLE
from harmonic.report.groups import AS_TRAIN
from harmonic.report.published import published
from harmonic.report.tables import HOLDOUT, SCORES, tables, to_markdown

METHODS = ("copy", "independent", HOLDOUT, "smote", "tabddpm", "tvae", "realtabformer", "harmonic_published", "harmonic")
KEYS = ("mle_f1_weighted", "mle_f1_macro", "c2st_auc", "dcr_share", "dcr_tail", "mia_auc", "dlt")
BEGIN, END = "<!-- results: written by scripts/make_readme.py -->", "<!-- end of results -->"


def overview(records: Sequence[Record]) -> pd.DataFrame:
    """A row per data set of the paper and method, in the paper's order and that of `METHODS`; cells as in `tables`.

    A method on two models is two rows that name them, one in two configurations two rows with their hashes.
    """
    titles = [score.title for key in KEYS for score in SCORES if score.key == key]
    columns = ["table", "method", "seeds", *titles]
    known, parts = tables(records), [pd.DataFrame(columns=columns)]
    for dataset in published().datasets:
        if dataset in known:
            table = known[dataset].assign(table=dataset)
            chosen = table[_plain(table["method"]).isin(METHODS) & table["rows"].isin([AS_TRAIN, ""])]
            chosen = chosen.sort_values("method", key=lambda names: _plain(names).map(METHODS.index), kind="stable")
            twice = chosen["method"].duplicated(keep=False)
            chosen = chosen.assign(method=chosen["method"].where(~twice, chosen["method"] + " (" + chosen["model"] + ")"))
            parts.append(chosen.reindex(columns=columns, fill_value=HOLE))
    return pd.concat(parts)


def _plain(names: pd.Series) -> pd.Series:
    """Names without the hash that tells two configurations apart."""
    return names.str.partition(" [")[0]


def with_overview(page: str, records: Sequence[Record]) -> str:
    """The page with the table between its two marks; BadInput where it does not have them in this order."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise BadInput(f"The page must hold {BEGIN!r} and, behind it, {END!r}, but does not: put them where the table goes.")
    return f"{before}{BEGIN}\n\n{to_markdown(overview(records))}\n\n{END}{after}"
