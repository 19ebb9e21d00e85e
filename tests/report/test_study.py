"""The study's tables. Oracles: means, deviations and Student's t by hand."""

import pytest

from harmonic.errors import BadInput
from harmonic.report.study import differences, levels, study_page
from harmonic.report.tables import to_markdown
from tests.report.records import record


def fold(label, number, **values):
    found = record(label, seed=number, **values)
    found.config["dataset"] = {"fold": number}
    return found


RECORDS = [
    fold("harmonic", 0, mle_auc=0.70, dlt=0.0),
    fold("harmonic", 1, mle_auc=0.80, dlt=0.2),
    fold("longer", 0, mle_auc=0.73, dlt=-0.1),
    fold("longer", 1, mle_auc=0.85, dlt=0.1),
    fold("copy", 1, mle_auc=0.9),
]


def test_levels_are_means_over_the_folds_there_are():
    rows = levels(RECORDS)["german"].set_index("variant")
    assert rows.loc["harmonic", "MLE AUC ↑"] == "0.750 ± 0.071"
    assert rows.loc["harmonic", "folds"] == "2"
    assert rows.loc["copy", "MLE AUC ↑"] == "0.900"
    assert rows.loc["copy", "DLT bits/cell (0)"] == "–"


def test_differences_are_paired_by_fold():
    """Oracle: .03 and .05: mean .04, standard error .01, t of one degree of freedom at .975 is 12.706; -.1 twice is -.1."""
    rows = differences(RECORDS)["german"].set_index("variant")
    assert list(rows.index) == ["longer"]  # copy shares one fold: no interval
    assert rows.loc["longer", "MLE AUC ↑"] == "+0.040 [-0.087, +0.167]"
    assert rows.loc["longer", "DLT bits/cell (0)"] == "-0.100 [-0.100, -0.100]"
    assert rows.loc["longer", "C2ST AUC (.5)"] == "–"


def test_a_failed_fold_is_said_and_not_compared():
    failed = record("longer", seed=2, error="no rows")
    failed.config["dataset"] = {"fold": 2}
    records = [*RECORDS, failed, fold("harmonic", 2, mle_auc=0.1, dlt=0.0)]
    assert levels(records)["german"].set_index("variant").loc["longer", "MLE AUC ↑"] == "failed"
    assert differences(records)["german"].set_index("variant").loc["longer", "MLE AUC ↑"] == "+0.040 [-0.087, +0.167]"


def test_a_label_that_means_two_things_is_refused():
    with pytest.raises(BadInput, match=r"two records of german, fold 1, seed 1, are labelled harmonic"):
        levels([*RECORDS, fold("harmonic", 1, mle_auc=0.1)])


def test_the_page_holds_both_tables():
    """Oracle: the two functions above."""
    text = study_page(RECORDS)
    assert text.startswith("# ")
    assert to_markdown(levels(RECORDS)["german"]) in text
    assert to_markdown(differences(RECORDS)["german"]) in text
