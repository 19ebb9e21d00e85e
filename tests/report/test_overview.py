"""The README's results. Oracles: the tables by data set; the page's own text."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from records import record

from harmonic.errors import BadInput
from harmonic.record import read_all
from harmonic.report.overview import BEGIN, END, METHODS, overview, with_overview
from harmonic.report.tables import HOLDOUT, tables, to_markdown

ROOT = Path(__file__).parents[2]
PAGE = f"# Title\n\n{BEGIN}\nwhat was there\n{END}\n\nThe end.\n"


def some():
    return [
        record("harmonic", model="base", c2st_auc=0.6, c2st_auc_real=0.51, mle_f1_weighted=0.7),
        record("smote", c2st_auc=0.7, mle_f1_weighted=0.71),
        record("smote", 1, c2st_auc=0.8, c2st_auc_real=0.53, mle_f1_weighted=0.73),
        record("ctgan", c2st_auc=0.9),
        record("smote", n=50, c2st_auc=0.1),
        record("harmonic", dataset="adult", model="base", c2st_auc=0.65),
        record("harmonic", dataset="wine", model="base", c2st_auc=0.5),
    ]


def test_rows_are_those_of_the_tables():
    """Oracle: `tables`: the chosen methods of the paper's tables, of as many rows as train, and the hold-out."""
    found = overview(some())
    assert found[["table", "method"]].to_numpy().tolist() == [
        ["german", HOLDOUT],
        ["german", "smote"],
        ["german", "harmonic"],
        ["adult", "harmonic"],
    ]
    whole = tables(some())["german"].query("method == 'smote' and rows == 'as train'").iloc[0]
    row = found.iloc[1]
    assert row["C2ST AUC (.5)"] == whole["C2ST AUC (.5)"] == "0.750 ± 0.071"
    assert row["seeds"] == "2"
    assert row["DCR share (.5)"] == "–"
    assert list(METHODS) == list(dict.fromkeys(METHODS))


def test_no_row_goes_missing_and_no_two_bear_one_name():
    """Oracle: by hand: two models, and two configurations, which have hashes in the tables."""
    models = [record("harmonic", model=model, c2st_auc=0.6) for model in ("base", "gpt2")]
    ways = [replace(record("smote", seed, c2st_auc=0.7), config={"method": {"k": seed}}) for seed in (0, 1)]
    names = overview([*models, *ways])["method"].tolist()
    assert names[2:] == ["harmonic (base)", "harmonic (gpt2)"]
    assert [name.partition(" [")[0] for name in names[:2]] == ["smote", "smote"]
    assert len(set(names)) == 4


def test_only_what_stands_between_the_marks_is_written():
    """Oracle: the page's own text; twice is once."""
    page = with_overview(PAGE, some())
    assert page.startswith(f"# Title\n\n{BEGIN}\n\n| table")
    assert page.endswith(f"|\n\n{END}\n\nThe end.\n")
    assert "what was there" not in page
    assert with_overview(page, some()) == page


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}\n{BEGIN}"])
def test_a_page_without_the_marks_is_refused(page):
    """Oracle: the rule."""
    with pytest.raises(BadInput, match="put them where the table goes"):
        with_overview(page, some())


def test_the_script_writes_the_page_or_one_line(tmp_path, monkeypatch, capsys):
    """Oracle: `with_overview`; no records, no page and no marks are one line each, and nothing is written."""
    spec = importlib.util.spec_from_file_location("make_readme", ROOT / "scripts" / "make_readme.py")
    make_readme = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_readme)
    page = tmp_path / "page.md"

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["make_readme.py", *map(str, arguments)])
        return make_readme.main()

    assert run(tmp_path / "runs", page) == 1
    assert "must hold record.json files" in capsys.readouterr().err
    for each in some():
        each.write(tmp_path / "runs")
    assert run(tmp_path / "runs", page) == 1
    assert "page.md" in capsys.readouterr().err
    page.write_text("no marks")
    assert run(tmp_path / "runs", page) == 1
    assert page.read_text() == "no marks"
    page.write_text(PAGE)
    assert run(tmp_path / "runs", page) == 0
    assert page.read_text() == with_overview(PAGE, read_all(tmp_path / "runs"))


def test_the_readme_shows_what_the_records_say():
    """Oracle: the committed records."""
    assert to_markdown(overview(read_all(ROOT / "results" / "runs"))) in (ROOT / "README.md").read_text(encoding="utf-8")
