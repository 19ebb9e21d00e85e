"""Rows that are not as they should be. Oracle: a finite score, with a note in the log, or one sentence, for every metric."""

import logging

import numpy as np
import pandas as pd
import pytest

from harmonic.errors import BadInput
from harmonic.metrics import utility_published
from harmonic.report.tables import SCORES
from harmonic.table import Split
from tests.conformance.controls import Memory, built, single_metrics

ELSEWHERE = {"lle", "lle_published", "canaries", "anonymeter"}
"""These have such tests of their own, beside their others: they take seconds a table."""
NOT_HERE = {"mle_r2", *(f"validity_{what}{side}" for what in ("dependencies", "constraints") for side in ("", "_holdout"))}
"""Scores of a regression, and of tables in which one column determines another, or that have rules."""
METRICS = sorted(single_metrics() - ELSEWHERE)
NOTED = {"dcr", "mia", "c2st", "mle"}
"""Of which it is looked whether the log names the column; all share one check."""


@pytest.fixture(scope="module")
def small(split) -> Split:
    """120 rows of train, 60 of val and test."""
    parts = (table.head(n).reset_index(drop=True) for table, n in ((split.train, 120), (split.val, 60), (split.test, 60)))
    return Split("small", split.schema, *parts)


@pytest.fixture(scope="module")
def bad(small) -> dict[str, pd.DataFrame]:
    """What is wrong with a table to the table."""
    rows = small.val
    return {
        "an unseen category": rows.assign(ward=rows["ward"].where(rows.index > 3, "moon")),
        "a missing column": rows.drop(columns="sugar"),
        "empty cells in an integer column": rows.assign(age=rows["age"].where(rows.index > 3, np.nan)),
        "words in an integer column": rows.assign(age=rows["age"].astype(object).where(rows.index > 3, "many")),
        "one row": rows.head(1),
        "no row": rows.head(0),
        "one class": rows[rows["state"] == "well"].reset_index(drop=True),
        "a column too many": rows.assign(extra=1),
    }


SENTENCE = {"a missing column": "'sugar'", "no row": "row"}
"""What must be one sentence for every metric, and a word of it."""


@pytest.fixture
def quick_published_mle(monkeypatch):
    """Published MLE without its four processes: a one for logistic regression, a nought for the others."""
    metric = utility_published.PublishedMachineLearningEfficacy
    monkeypatch.setattr(metric, "_in_child", lambda self, task: float(task.learner == "lr"))


def test_the_tables_have_columns_for_scores_that_there_are(small, quick_published_mle):
    """Oracle: what the metrics give: every column names one of their keys, and so does its reference; none comes twice."""
    generator = Memory(small.train, small.train, small.schema)
    generator.prompt_rows = np.arange(2 * len(small.val)).reshape(-1, 2)
    generator.prompt_drawn = generator.prompt_rows % 2 == 0
    given = {key for metric in METRICS for key in built(metric)(small, small.val, seed=0, synthesizer=generator)}
    wanted = [key for score in SCORES for key in (score.key, score.holdout) if key]
    assert len(wanted) == len(set(wanted))
    unknown = set(wanted) - given
    assert {key for key in unknown if key.partition("_")[0] not in ("lle", "canary", "anonymeter")} == NOT_HERE


@pytest.mark.parametrize("metric", METRICS)
def test_a_score_or_a_sentence(metric, small, bad, one_sentence, caplog, quick_published_mle):
    """Oracle: the rule for bad rows; a missing column is never scored, an odd cell never passes in silence."""
    generator = Memory(small.train, small.train, small.schema)
    score = built(metric)
    for fault, rows in bad.items():
        generator.prompt_rows = np.arange(2 * len(rows)).reshape(-1, 2) % len(small.train)
        generator.prompt_drawn = np.arange(2 * len(rows)).reshape(-1, 2) % 2 == 0
        caplog.clear()
        try:
            with caplog.at_level(logging.WARNING):
                found = score(small, rows, seed=0, synthesizer=generator)
        except BadInput as error:
            one_sentence(error, SENTENCE.get(fault, ""))
            assert fault not in ("an unseen category", "a column too many"), error
            continue
        assert fault not in SENTENCE, found
        if fault in ("one row", "one class"):
            assert all(isinstance(value, float) for value in found.values()), fault
        else:
            assert np.isfinite(list(found.values())).all(), (fault, found)
        if metric in NOTED and "integer" in fault:
            assert "'age'" in caplog.text, fault
        if metric in NOTED and "category" in fault:
            assert "'ward'" in caplog.text, fault
