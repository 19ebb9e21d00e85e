"""Records. Oracles: the inverse of writing, and rules about what a later run may change."""

import json
import math
from dataclasses import replace

import pytest

from harmonic.errors import BadInput
from harmonic.record import Cell, Record, read, read_all

CELL = Cell("wine", "copy", "none", 0, "0123456789abcdef")


def score(**values):
    return {"values": values, "key": "k", "time_s": 0.5}


def record(status="done", cell=CELL, synthetic="rows", **fields):
    fields = {"digests": {"synthetic": synthetic}, "config": {"n_samples": None}, "env": {"commit": "one"}, **fields}
    return Record(cell, status, **fields)


def test_what_is_written_is_read(tmp_path):
    """Oracle: the inverse; every field, non-ASCII text, a score that is no number."""
    original = record(
        scores={"dcr": score(dcr_mean=0.25, dcr_tail=1e-9)},
        fit={"losses": [1.0, 0.5]},
        costs={"time_fit_s": 1.5},
        data={"schema": {"names": ["Größe ☕"]}},
    )
    path = original.write(tmp_path)
    assert path == tmp_path / "wine" / "copy" / "none" / "seed0-01234567" / "record.json"
    assert read(path) == original
    assert "Größe ☕" in path.read_text()
    assert original.values == {"dcr_mean": 0.25, "dcr_tail": 1e-9}


NAMED = '"cell": {"dataset": "wine", "method": "copy", "model": "none", "seed": 0, "key": "k"}, "status": "done"'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"version": 2}', '{"cell": {"dataset": "wine"}, "status": "done"}'),
        *(
            f"{{{NAMED}, {rest}}}"
            for rest in ('"version": 2', '"scores": null', '"scores": {"nrs": {"values": {"nrs": "?"}}}')
        ),
    ],
)
def test_what_is_no_record_is_told_and_replaced(tmp_path, one_sentence, caplog, text):
    """Oracle: the rule for what a user can cause; a cell's own record takes its place."""
    path = record().write(tmp_path)
    path.write_text(text)
    with pytest.raises(BadInput) as error:
        read(path)
    one_sentence(error.value, str(path), "cannot be read")
    assert read(record(scores={"nrs": score(nrs=1.0)}).write(tmp_path)).values == {"nrs": 1.0}
    assert "cannot be read" in caplog.text


def test_a_failed_record(tmp_path):
    """Oracle: the inverse; a failed cell has no rows to have digests of."""
    failed = record("failed", digests={}, error={"stage": "fit", "type": "BadInput", "message": "k must …"})
    assert read(failed.write(tmp_path)) == failed


def test_scores_of_other_metrics_on_the_same_rows_are_kept(tmp_path):
    """Oracle: by hand: two commands with one metric each leave both; the later wins where both have one."""
    record(scores={"nrs": score(nrs=1.0), "dcr": score(dcr_mean=1.0)}).write(tmp_path)
    path = record(scores={"dcr": score(dcr_mean=2.0), "mle": score(mle_auc=0.5)}).write(tmp_path)
    assert read(path).values == {"nrs": 1.0, "dcr_mean": 2.0, "mle_auc": 0.5}
    assert list(read(path).scores) == ["dcr", "mle", "nrs"]


def test_scores_of_other_rows_are_not_kept(tmp_path):
    """Oracle: by hand: scores belong to the rows they were computed on."""
    record(scores={"nrs": score(nrs=1.0)}).write(tmp_path)
    path = record(synthetic="other rows", scores={"dcr": score(dcr_mean=2.0)}).write(tmp_path)
    assert read(path).values == {"dcr_mean": 2.0}


def test_scores_on_other_test_rows_are_not_kept(tmp_path):
    """Oracle: the rule: the same synthetic rows, scored on another split, as after a test file was replaced."""
    record(scores={"nrs": score(nrs=1.0)}, digests={"synthetic": "rows", "split": "old"}).write(tmp_path)
    path = record(scores={"dcr": score(dcr_mean=2.0)}, digests={"synthetic": "rows", "split": "new"}).write(tmp_path)
    assert read(path).values == {"dcr_mean": 2.0}


@pytest.mark.parametrize("value", [0.5, math.nan, math.inf])
def test_a_record_that_says_nothing_new_is_left_alone(tmp_path, value):
    """Oracle: the bytes; also where a score is no number, as the published SVM's may be."""
    path = record(scores={"mle": score(mle_published=value)}).write(tmp_path)
    before = path.read_bytes()
    record(scores={"mle": score(mle_published=value)}, env={"commit": "two"}).write(tmp_path)
    assert path.read_bytes() == before


def test_the_same_scores_on_another_day_change_nothing(tmp_path):
    """Oracle: the bytes: a fresh clone that computes the committed scores again leaves the committed record as it is."""
    path = record(scores={"nrs": score(nrs=1.0)}, costs={"time_fit_s": 1.5}).write(tmp_path)
    before = path.read_bytes()
    again = {**score(nrs=1.0), "time_s": 9.0, "commit": "another"}
    record(scores={"nrs": again}, costs={"time_fit_s": 7.0}, env={"commit": "another"}).write(tmp_path)
    assert path.read_bytes() == before


def test_a_cell_that_failed_in_a_metric_and_then_did_not(tmp_path):
    """Oracle: by hand: dcr was scored, mle failed; a run of dcr alone is done, and says so."""
    scores = {"dcr": score(dcr_mean=2.0)}
    record("failed", scores=scores, error={"stage": "score mle", "type": "ValueError", "message": ""}).write(tmp_path)
    path = record(scores=scores).write(tmp_path)
    assert read(path).status == "done"
    assert read(path).error is None


def test_all_records_of_a_folder(tmp_path):
    """Oracle: by hand, in order of path; other files are none."""
    cells = [replace(CELL, seed=seed, dataset=name) for name in ("adult", "wine") for seed in (0, 1)]
    for cell in reversed(cells):
        record(cell=cell).write(tmp_path)
    (tmp_path / "notes.json").write_text("{}")
    assert [found.cell for found in read_all(tmp_path)] == cells
    assert read_all(tmp_path / "none") == []


def test_a_record_is_plain_json(tmp_path):
    """Oracle: the JSON standard, which knows no NaN: other tools read records too."""

    def refuse(word):
        raise AssertionError(word)

    path = record(scores={"mle": score(mle_published=math.nan)}).write(tmp_path)
    plain = json.loads(path.read_text(), parse_constant=refuse)
    assert plain["version"] == 1
    assert read(path).values["mle_published"] is None or math.isnan(read(path).values["mle_published"])


def test_a_failure_takes_no_result_away(tmp_path):
    """Oracle: by hand: a metric that fails on the same rows keeps what was scored; one without rows changes nothing."""
    path = record(scores={"nrs": score(nrs=1.0)}).write(tmp_path)
    before = path.read_bytes()
    error = {"stage": "sample", "type": "Killed", "message": "memory"}
    record("failed", digests={}, error=error).write(tmp_path)
    assert path.read_bytes() == before
    record("failed", scores={"dcr": score(dcr_mean=2.0)}, error={**error, "stage": "score mle"}).write(tmp_path)
    assert (read(path).status, read(path).values) == ("failed", {"nrs": 1.0, "dcr_mean": 2.0})
    record(scores={"mle": score(mle_auc=0.5)}).write(tmp_path)
    assert (read(path).status, len(read(path).values)) == ("done", 3)
