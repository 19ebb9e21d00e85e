"""Records to tables. Oracles: means and deviations by hand; a hole stays a hole."""

import importlib.util
import math
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from harmonic.record import Cell, Record
from harmonic.report.study import study_page
from harmonic.report.tables import FAILED, HOLDOUT, HOLE, holdout_values, sheets, summary, tables, to_markdown

AUC, DCR, NRS = "MLE AUC ↑", "DCR (= hold-out)", "NRS (= hold-out)"


def record(method, seed=0, model="none", dataset="wine", error=None, n=None, costs=None, **values):
    scores = {"all": {"values": values, "key": "k", "time_s": 0.1}} if values else {}
    cell = Cell(dataset, method, model, seed, f"{method}{model}{seed}{n}".encode().hex())
    return Record(
        cell,
        "failed" if error else "done",
        error={"stage": "fit", "type": "BadInput", "message": error} if error else None,
        scores=scores,
        costs={"time_fit_s": 1.0, "time_sample_s": 2.0} if costs is None else costs,
        config={"n_samples": n},
    )


def only(records, dataset="wine"):
    return tables(records)[dataset].set_index("method")


def test_mean_and_deviation_of_two_seeds_by_hand():
    """Oracle: by hand: .8 and .9 have the mean .85 and the deviation .1/√2 = .071."""
    seeds = [(0, 0.8, 3), (1, 0.9, 5)]
    table = only([record("smote", seed, mle_auc=auc, costs={"time_fit_s": cost}) for seed, auc, cost in seeds])
    assert table.loc["smote", AUC] == "0.850 ± 0.071"
    assert table.loc["smote", "fit s"] == "4 ± 1"
    assert table.loc["smote", "sample s"] == HOLE
    assert table.loc["smote", "seeds"] == "2"


def test_one_seed_has_no_deviation():
    """Oracle: by hand."""
    assert only([record("smote", mle_auc=0.8)]).loc["smote", AUC] == "0.800"


@pytest.mark.parametrize("value", [{}, {"mle_auc": math.nan}])
def test_a_missing_score_is_a_hole_not_a_mean_of_the_rest(value):
    """Oracle: the rule: never averaged around."""
    table = only([record("smote", 0, mle_auc=0.8), record("smote", 1, dcr_mean=1.0, **value)])
    assert table.loc["smote", AUC] == HOLE


def test_a_failed_seed_is_shown_and_never_averaged_around():
    """Oracle: the rule; the other methods are as they were."""
    records = [record("smote", 0, mle_auc=0.8), record("smote", 1, error="no rows"), record("copy", mle_auc=0.9)]
    table = only(records)
    assert table.loc["smote", AUC] == FAILED
    assert table.loc["smote", "seeds"] == "2 (1 failed)"
    assert table.loc["smote", "fit s"] == HOLE
    assert table.loc["copy", AUC] == "0.900"
    told = [line for line in summary(records).splitlines() if line.endswith("failed in fit: no rows")]
    assert len(told) == 1
    assert all(word in told[0] for word in ("wine", "smote", "1"))


def test_a_data_set_of_failures_alone_has_a_table():
    """Oracle: the rule that failures are results."""
    table = only([record("smote", error="no rows")])
    assert table.loc["smote", "seeds"] == "1 (1 failed)"


def test_floor_and_ceiling_and_the_real_hold_out_come_first():
    """Oracle: the order that the rows are read in; then by name and model."""
    names = [("tvae", "none"), ("harmonic", "scratch"), ("harmonic", "gpt2"), ("independent", "none"), ("copy", "none")]
    table = tables([record(name, model=model, dcr_mean=1.0, dcr_holdout_mean=2.0) for name, model in names])["wine"]
    assert table["method"].tolist() == ["copy", "independent", HOLDOUT, "harmonic", "harmonic", "tvae"]
    assert table["model"].tolist() == ["", "", "", "gpt2", "scratch", ""]


def test_the_hold_outs_own_row_by_hand():
    """Oracle: by hand: one value per seed, however many methods carry it; a score without one stays empty."""
    values = [(0, 2.0), (1, 4.0)]
    records = [record(m, s, dcr_mean=9.0, dcr_holdout_mean=v, mle_auc=0.5) for m in ("copy", "smote") for s, v in values]
    line = only(records).loc[HOLDOUT]
    assert line[DCR] == "3.000 ± 1.414"
    assert line["seeds"] == "2"
    assert line[AUC] == ""
    assert HOLDOUT not in only([record("copy", mle_auc=0.5)]).index


def test_the_hold_out_where_one_methods_record_lacks_it():
    """Oracle: by hand. The hold-out's score is known from copy; that smote was scored by another metric takes nothing."""
    records = [record("copy", dcr_mean=1.0, dcr_holdout_mean=2.0), record("smote", mle_auc=0.5)]
    for order in (records, records[::-1]):
        assert only(order).loc[HOLDOUT, DCR] == "2.000"


def test_the_hold_out_beside_as_many_rows_as_train_has():
    """Oracle: by hand: what real rows score depends on how many there are; a record of fewer does not count."""
    records = [record("copy", c2st_auc=0.5, c2st_auc_real=0.4), record("smote", n=9, c2st_auc=0.5, c2st_auc_real=0.7)]
    for order in (records, records[::-1]):
        assert holdout_values(order)[0]["c2st_auc_real"] == 0.4


def test_data_sets_and_numbers_of_rows_are_kept_apart():
    """Oracle: by hand: other tables, and other rows of a table."""
    made = tables([record("copy", mle_auc=0.5), record("copy", mle_auc=0.7, n=50), record("copy", dataset="adult", nrs=0.1)])
    assert list(made) == ["adult", "wine"]
    assert sorted(made["wine"][["rows", AUC]].itertuples(index=False, name=None)) == [("50", "0.700"), ("as train", "0.500")]
    assert list(made["adult"].columns) == ["method", "model", "rows", "seeds", NRS, "fit s", "sample s"]


def test_two_configurations_of_one_method_are_not_averaged():
    """Oracle: the rule that a mean is over seeds: two records of one seed are two things, not two seeds."""
    records = [record("smote", 0, mle_auc=0.8), record("smote", 0, mle_auc=0.9)]
    records[1].config = {"n_samples": None, "method": {"k": 9}}
    table = tables(records)["wine"]
    assert "0.850 ± 0.071" not in table[AUC].tolist()
    assert "2" not in table["seeds"].tolist()


def test_markdown_by_hand():
    """Oracle: by hand, as it is shown where a fixed-width font is."""
    frame = pd.DataFrame({"method": ["copy", "real hold-out"], "AUC ↑": ["0.9", ""]})
    assert to_markdown(frame) == (
        "| method        | AUC ↑ |\n|---------------|-------|\n| copy          | 0.9   |\n| real hold-out |       |"
    )


def test_a_score_that_failed_is_told_from_those_that_did_not():
    """Oracle: the rule: what other metrics scored stays; what the failed one would have is no hole."""
    partly = record("smote", mle_auc=0.6)
    partly.status, partly.error = "failed", {"stage": "score all", "type": "BadInput", "message": "no"}
    partly.scores["all"]["values"]["nrs_holdout"] = 0.9
    table = only([partly, record("copy", mle_auc=0.5, dcr_mean=0.0, nrs=0.0)])
    assert table.loc[HOLDOUT, NRS] == "0.900"
    assert (table.loc["smote", AUC], table.loc["smote", DCR]) == ("0.600", FAILED)
    assert table.loc["smote", "fit s"] == "1"
    assert table.loc["smote", "seeds"] == "1 (1 failed)"


def test_a_sheet_holds_what_was_scored_on_its_matter():
    """Oracle: by hand: no line for a method without such a score, no sheet without any line."""
    records = [record("copy", mle_auc=0.5, dcr_mean=0.0, dcr_holdout_mean=1.0), record("smote", dcr_mean=0.5)]
    parts = sheets(tables(records)["wine"])
    assert list(parts) == ["utility", "privacy", "cost"]
    assert parts["utility"]["method"].tolist() == ["copy"]
    assert parts["privacy"]["method"].tolist() == ["copy", HOLDOUT, "smote"]
    assert parts["privacy"].columns.tolist() == ["method", "model", "rows", "seeds", DCR]


def test_a_metric_of_a_user_has_a_sheet():
    """Oracle: by hand: its scores under their own names, the hold-out's own in its row; not what a known metric adds.

    prompt_copy has no other score than this where no prompt held a row.
    """
    records = [record("copy", mle_auc=0.5, mle_lr_auc=0.4), record("smote", mle_auc=0.6)]
    for score, of in zip((0.25, 0.5), records, strict=True):
        of.scores["mine"] = {"values": {"mine_gap": score, "mine_gap_holdout": 0.75, "mine:age": 1.0, "mine_rank": 2.0}}
        of.scores["mi"] = {"values": {"mine_mi": 3.0}}
        of.scores["prompt_copy"] = {"values": {"prompt_rows_shown": 0.0}}
    parts = sheets(tables(records)["wine"])
    assert list(parts) == ["utility", "further", "cost"]
    assert parts["further"].columns.tolist() == ["method", "model", "rows", "seeds", "mine_gap", "mine_mi", "mine_rank"]
    assert parts["further"]["mine_gap"].tolist() == ["0.250", "0.750", "0.500"]
    assert parts["utility"].columns.tolist() == ["method", "model", "rows", "seeds", AUC]


def test_a_summary_takes_each_cell_once():
    """Oracle: by hand: a sweep runs the references beside every method; scores and costs are a sheet each."""
    records = [record("copy", mle_auc=0.5), record("smote", mle_auc=0.6), record("copy", mle_auc=0.5)]
    lines = summary(records).splitlines()
    assert sum(line.startswith("| copy") for line in lines) == len(["utility", "cost"])
    assert next(line for line in lines if line.startswith("| copy")).split("|")[4].strip() == "1"


@pytest.fixture
def script():
    path = Path(__file__).parent.parent / "scripts" / "make_tables.py"
    spec = importlib.util.spec_from_file_location("make_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def regenerate(script, tmp_path, monkeypatch):
    """Runs the script on the folder runs, twice; what it wrote, by name, the same bytes both times."""

    def call():
        monkeypatch.chdir(tmp_path)
        study = ["study"] if (tmp_path / "study").exists() else []
        monkeypatch.setattr("sys.argv", ["make_tables.py", "runs", "tables", *study])
        contents = []
        for _ in range(2):
            assert script.main() == 0
            contents.append({path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()})
        assert contents[0] == contents[1]
        return contents[0]

    return call


def test_the_script_writes_what_the_records_say(regenerate, tmp_path, capsys):
    """Oracle: `tables` itself."""
    for each in (record("copy", 0, mle_auc=0.5), record("copy", 1, mle_auc=0.7)):
        each.digests = {"synthetic": "rows"}
        each.write(tmp_path / "runs")
    contents = regenerate()
    assert set(contents) >= {"wine.md", "wine.csv"}
    assert "0.600 ± 0.141" in contents["wine.md"].decode()
    assert pd.read_csv(tmp_path / "tables" / "wine.csv")[AUC].tolist() == ["0.600 ± 0.141"]
    assert "0.600 ± 0.141" in capsys.readouterr().out


def test_the_script_writes_the_papers_tables(regenerate, tmp_path):
    """Oracle: the paper's .64±.02 beside our mean by hand, in three forms."""
    for seed in range(3):
        each = record("smote", seed, dataset="german", mle_f1_weighted=0.6 + 0.01 * seed, dcr_mean=2.0)
        each.write(tmp_path / "runs")
    contents = regenerate()
    assert {f"table{number}.{kind}" for number in (1, 2) for kind in ("md", "csv", "tex")} < set(contents)
    assert all(text.endswith(b"\n") and b"\r" not in text for text in contents.values())
    assert "0.64 ± 0.02" in contents["table1.md"].decode()
    assert "0.610 ± 0.010" in contents["table1.md"].decode()
    assert r"0.610 $\pm$ 0.010" in contents["table1.tex"].decode()
    assert (
        pd.read_csv(tmp_path / "tables" / "table2.csv").query("method == 'smote' and form == 'paper'")["mean"].max() == 2.77
    )


def test_the_script_writes_the_study_where_there_is_one(regenerate, tmp_path):
    """Oracle: its page; the records of a study have no part in the other tables."""
    record("smote", dataset="german", mle_auc=0.5).write(tmp_path / "runs")
    assert "study.md" not in regenerate()
    variant = record("k8", dataset="german", mle_auc=0.75)
    variant.write(tmp_path / "study")
    contents = regenerate()
    assert contents["study.md"].decode() == study_page([variant])
    assert "k8" not in contents["german.md"].decode()


def test_a_study_that_is_not_there(script, tmp_path, monkeypatch, capsys):
    """Oracle: the rule for what a user can cause: a folder that was named holds records."""
    record("smote", dataset="german", mle_auc=0.5).write(tmp_path / "runs")
    monkeypatch.setattr("sys.argv", ["make_tables.py", *(str(tmp_path / name) for name in ("runs", "tables", "typo"))])
    assert script.main() == 1
    assert "typo must hold record.json files" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_compiles(script, tmp_path, monkeypatch):
    """Oracle: LaTeX, of names with its special characters and signs it has no font for."""
    for name in ("a_b & #1 %", "{x} ~^ $y$ <>|", "ß é 日 ☕"):
        record(name, dataset=name, mle_f1_weighted=0.5, dlt=-0.5).write(tmp_path / "runs")
    monkeypatch.setattr("sys.argv", ["make_tables.py", str(tmp_path / "runs"), str(tmp_path)])
    assert script.main() == 0
    for number in (1, 2):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"table{number}.tex"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout[-2000:]


@pytest.mark.parametrize("name", ["table1", "study", "goals"])
def test_a_data_set_called_as_a_table_of_all(name, script, tmp_path, monkeypatch, capsys):
    """Oracle: the rule for what a user can cause: one sentence, and nothing written half."""
    record("smote", dataset=name).write(tmp_path / "runs")
    monkeypatch.setattr("sys.argv", ["make_tables.py", str(tmp_path / "runs"), str(tmp_path / "tables")])
    assert script.main() == 1
    assert f"must not be named {name}" in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()


def test_a_folder_that_cannot_be_written(script, tmp_path, monkeypatch, capsys):
    """Oracle: the rule for what a user can cause: one line."""
    record("copy", mle_auc=0.5).write(tmp_path / "runs")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sys.argv", ["make_tables.py", str(tmp_path / "runs"), str(tmp_path / "file" / "tables")])
    assert script.main() == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_script_without_records(script, tmp_path, monkeypatch, capsys):
    """Oracle: the rule for what a user can cause."""
    monkeypatch.setattr("sys.argv", ["make_tables.py", str(tmp_path / "none"), str(tmp_path / "tables")])
    assert script.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "tables").exists()
