"""Records put into rows. Oracles: the rule that a mean is over seeds of one thing, and hand counts."""

from dataclasses import replace

import pytest

from harmonic.report.groups import by_dataset, group, titles
from tests.report.records import record


def configured(**config):
    """A record with a configuration of its own."""
    one = record("smote", config.pop("seed", 0))
    return replace(one, config={"n_samples": None, **config})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"names": {"method": "smote", "model": "scratch"}}, {"names": {"method": "smote", "model": "base"}}),
        ({"dataset": {"name": "german"}}, {"dataset": {"name": "german", "constraints": []}}),
        ({"dataset": {"name": "german"}}, {"dataset": {"name": "german", "fold": None}}),
        ({"method": {"k": 5}}, {"method": {"k": 5, "budget": None, "options": {}}}),
        ({"method": {"_target_": "here.Smote"}}, {"method": {"_target_": "elsewhere.Smote"}}),
        ({"method": {"compute": {}}}, {"method": {"compute": {"compile": "auto", "strategy": "single"}}}),
        ({"seed": 0}, {"seed": 1}),
    ],
)
def test_what_makes_no_other_method(one, other):
    """Oracle: the rule: a model that the method does not have, an option that is not set or says what was so before it,
    a class that moved, the seed."""
    assert [len(row.records) for row in group([configured(**one), configured(**other)])] == [2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"method": {"k": 5}}, {"method": {"k": 6}}),
        ({"method": {"k": 5}}, {"method": {"k": 5, "budget": "smoke"}}),
        ({"method": {"k": 0}}, {"method": {}}),
        ({"method": {"compute": {}}}, {"method": {"compute": {"strategy": "ddp"}}}),
        ({"method": {"sampling": {"keep": 0.5}}}, {"method": {"sampling": {}}}),
        ({"method": {"exact": False}}, {"method": {}}),
    ],
)
def test_what_makes_another_method(one, other):
    """Oracle: the rule; 0 and false are values."""
    rows = group([configured(**one), configured(**other)])
    assert [len(row.records) for row in rows] == [1, 1]
    assert len({row.method for row in rows}) == 2
    assert all(row.method.startswith("smote [") for row in rows)


def test_a_fold_is_another_data_set():
    """Oracle: the rule: its test rows are not those of the others."""
    fold = configured(dataset={"name": "german", "fold": 3})
    assert list(by_dataset([fold, record("smote")])) == ["german", "german, fold 3"]


def test_files_of_one_name_are_two_data_sets():
    """Oracle: the paths; records of one file stay together."""
    one, other = (configured(dataset={"path": f"{folder}/train.csv"}) for folder in "ab")
    found = by_dataset([one, other, one])
    assert len(found) == 2
    assert sorted(map(len, found.values())) == [1, 2]
    assert all(name.startswith("german [") for name in found)
    assert list(by_dataset([one, one])) == ["german"]


def test_one_seed_on_two_splits_is_two_data_sets():
    """Oracle: the rule: test rows that differ make no table; a split for each seed is one data set."""

    def scored(seed, split):
        return replace(record("smote", seed), digests={"split": split})

    found = by_dataset([scored(0, "one"), scored(1, "one"), scored(0, "two"), record("tvae", error="no", stage="data")])
    assert sorted(map(len, found.values())) == [1, 1, 2]
    assert sum(name.startswith("german [") for name in found) == 2
    assert list(by_dataset([scored(0, "one"), scored(1, "two"), scored(1, "two")])) == ["german"]


def test_seeds_and_failures_are_counted():
    """Oracle: by hand."""
    (row,) = group(
        [record("smote", 0, mle_auc=0.5), record("smote", 1, error="no"), record("smote", 2, mle_auc=float("nan"))]
    )
    assert row.seeds == "3 (1 failed)"
    assert row.by_seed("mle_auc") == {0: 0.5}
    assert row.failed_in("mle_auc", "mle")


def test_a_metric_that_failed_is_told_from_the_others():
    """Oracle: the rule: a record that failed in two metrics has holes in the rest; one that had no rows fails in all."""
    scored = record("smote", 0, error="no", stage="score mia", mle_auc=0.5)
    scored.error["also"] = "lle dlt"
    (row,) = group([scored])
    failed = [metric for metric in ("mle", "mia", "lle", "dlt", "dcr") if row.failed_in("any", metric)]
    assert failed == ["mia", "lle", "dlt"]
    assert not row.failed_in("mle_auc", "mia")  # which is there
    (rowless,) = group([record("smote", 0, error="no")])
    assert rowless.failed_in("any", "dcr")
    assert (row.has_rows, rowless.has_rows) == (True, False)


def test_costs_of_a_gpu_and_of_none_have_no_mean():
    """Oracle: the rule."""
    one, other = record("smote", 0), record("smote", 1)
    (row,) = group([one, other])
    assert row.costs("time_fit_s") == [1.0, 1.0]
    other.costs["peak_gpu_memory_fit_mb"] = 10.0
    assert row.costs("time_fit_s") == [None, None]


def test_other_numbers_of_rows_are_told():
    """Oracle: by hand."""
    rows = group([record("smote"), record("tvae"), record("ctgan", n=50), record("copy", n=60)])
    assert titles(rows) == ["smote", "tvae", "ctgan, 50 rows", "copy"]


def test_two_records_of_one_seed_have_no_pair():
    """Oracle: by hand: which of the two would be the seed's?"""
    (row,) = group([record("smote", 0, mle_auc=0.5), record("smote", 0, mle_auc=0.7), record("smote", 1, mle_auc=0.6)])
    assert row.by_seed("mle_auc") == {1: 0.6}
    assert row.values("mle_auc") == [None, None, 0.6]
    assert row.seeds == "3 (seed 0 twice)"


@pytest.mark.parametrize(
    ("method", "fit", "said"),
    [
        ({"k": 5}, {}, ""),
        ({"budget": None, "steps": None}, {"batches": 1500, "batches_done": 1500}, "default, 1500 steps"),
        ({"budget": "smoke", "steps": None}, {"steps_done": 20}, "smoke, 20 steps"),
        ({"budget": None, "epochs": 100}, {"steps_done": 1500}, "1500 steps"),
        ({"budget": None, "model": {}}, {"batches": 800, "batches_done": 248}, "248 steps"),
        ({"budget": None, "epochs": None}, {"epochs": 300, "epochs_done": 250}, "default, 250 epochs"),
        ({"budget": None, "max_minutes": 2.5}, {"recipe": {"epochs": 100.0}}, "default, up to 100 epochs, at most 2.5 min"),
    ],
)
def test_the_budget_that_a_record_tells(method, fit, said):
    """Oracle: by hand, from what methods write into their records."""
    (row,) = group([replace(configured(method=method), fit=fit)])
    assert row.budget() == said


def test_the_budget_over_seeds():
    """Oracle: by hand: from the least to the most."""
    (row,) = group([replace(configured(seed=seed, method={"k": 5}), fit={"batches": 100 + seed}) for seed in (0, 5, 3)])
    assert row.budget() == "100–105 steps"


@pytest.mark.parametrize(
    ("method", "target", "is_reference"),
    [("copy", "", True), ("mine", "baselines.controls.NoisyCopy", True), ("smote", "baselines.smote.Smote", False)],
)
def test_what_nobody_competes_with(method, target, is_reference):
    """Oracle: the design: floor, ceiling and controls, under whatever label."""
    (row,) = group([record(method, target=target)])
    assert row.is_reference == is_reference


def test_titles_are_all_different():
    """Oracle: by hand."""
    rows = group(
        [record("harmonic", model="base"), record("smote"), record("smote", n=50), record("harmonic", model="gpt2")]
    )
    assert titles(rows) == ["harmonic (base)", "smote, as train", "smote, 50 rows", "harmonic (gpt2)"]
