"""A cell through its stages. Oracles: an unbroken run, the bytes of records, and rules about failures."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from harmonic import datasets, keys, record
from harmonic.bench import run_cell
from harmonic.build import build
from harmonic.errors import BadInput
from harmonic.lm.module import FineTuning
from harmonic.meaning import fit_meaning
from harmonic.method import Harmonic
from harmonic.metrics.distance import NewRowSynthesis
from harmonic.store import DONE
from harmonic.table import Split, load_table
from tests import cells
from tests.cells import COPY, DCR, NRS, write_csv

INDEPENDENT = {"_target_": "baselines.independent.Independent"}
HARMONIC = {
    "_target_": "harmonic.method.Harmonic",
    "model": {
        "_target_": "harmonic.lm.load.Scratch",
        **{"hidden_size": 64, "layers": 2, "heads": 2, "mlp_size": 128, "vocab_size": 300, "max_length": 1024},
        "training": {
            "_target_": "harmonic.lm.batches.Training",
            **{"loss_on": "all", "min_steps": 80, "batch_size": 8, "learning_rate": 5e-3, "warmup": 0.05},
        },
    },
    "k": 2,
    "order": "fixed",
    "sampling": {
        "_target_": "harmonic.method.Sampling",
        "decoding": {"_target_": "harmonic.lm.decoding.Decoding", "temperature": 0.7, "max_tries": 100},
    },
    "compute": {
        "_target_": "harmonic.training.Compute",
        **{"accelerator": "cpu", "precision": "32-true", "checkpoint_minutes": 0.0},
    },
}


@pytest.fixture
def cell(tmp_path):
    """The configuration of a cell on 60 rows; changes by keyword."""
    csv = write_csv(tmp_path / "mine.csv")

    def configure(method=COPY, root=tmp_path, **changes):
        return cells.cell(csv, root, method, **changes)

    return configure


def records_in(root):
    return sorted((root / "runs").rglob("record.json"))


def stages(root):
    """Every file of the cache with the time of its last change."""
    files = [path for path in (root / "cache").rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}


def meaning(plain):
    """A record less what may differ between two runs of the same cell: seconds, bytes of memory, the machine."""
    cost = ("time", "memory", "per_s", "stretches")
    return {
        **plain,
        "env": None,
        "costs": {name: value for name, value in plain["costs"].items() if not any(word in name for word in cost)},
        "scores": {name: {**score, "time_s": 0, "peak_memory_mb": 0} for name, score in plain["scores"].items()},
    }


def one_record(root):
    (path,) = records_in(root)
    return meaning(json.loads(path.read_text()))


@pytest.mark.parametrize("method", [COPY, INDEPENDENT, HARMONIC], ids=["copy", "independent", "harmonic"])
def test_a_second_run_does_nothing_twice(cell, tmp_path, method, monkeypatch):
    """Oracle: the bytes of the record and the times of the stages' files; and no stage's work may even be asked for."""
    first = run_cell(cell(method))
    assert first.error is None
    (path,) = records_in(tmp_path)
    before, files = path.read_bytes(), stages(tmp_path)

    def refuse(*args, **kwargs):
        raise AssertionError("done twice")

    monkeypatch.setattr("harmonic.store.Store.put", refuse)
    for place in ("baselines.copy.Copy", "baselines.independent.Independent", "harmonic.method.Harmonic"):
        monkeypatch.setattr(f"{place}.fit", refuse)
        monkeypatch.setattr(f"{place}.sample", refuse)
    second = run_cell(cell(method))
    assert second.error is None
    assert path.read_bytes() == before
    assert stages(tmp_path) == files
    assert second.scores == first.scores


def test_what_a_record_says(cell, tmp_path):
    """Oracle: the files beside it, and what is known of a copy: no new rows, distance 0."""
    done = run_cell(cell())
    (path,) = records_in(tmp_path)
    assert path.parent == tmp_path / "runs" / "mine" / "copy" / "none" / f"seed0-{done.cell.key[:8]}"
    assert json.loads(path.read_text()) == json.loads(json.dumps(asdict(done)))
    assert (done.values["nrs"], done.values["dcr_mean"]) == (0.0, 0.0)
    split = datasets.File(str(tmp_path / "mine.csv"), name="mine").load(0)
    assert done.digests["split"] == split.digest
    synthetic = pd.read_csv(path.parent / "synthetic.csv")
    assert sorted(map(tuple, synthetic.to_numpy())) == sorted(map(tuple, split.train.to_numpy()))
    assert done.config["method"] == COPY
    assert str(tmp_path / "cache") not in path.read_text()
    assert done.costs["time_fit_s"] >= 0


def test_the_same_cell_elsewhere_is_the_same_record(cell, tmp_path):
    """Oracle: repetition from nothing, in other folders; another seed is another record."""
    for place in ("one", "two"):
        run_cell(cell(HARMONIC, tmp_path / place))
    assert one_record(tmp_path / "one") == one_record(tmp_path / "two")
    run_cell(cell(COPY, tmp_path / "three"))
    run_cell(cell(COPY, tmp_path / "three", seed=1))
    zero, one = (record.read(path) for path in records_in(tmp_path / "three"))
    assert zero.digests["synthetic"] != one.digests["synthetic"]


def test_what_is_changed_is_what_is_done_again(cell, tmp_path, monkeypatch):
    """Oracle: by hand: sampling options keep the weights, metrics keep the rows, checkpoint times keep everything."""
    fitted, sampled, scored = [], [], []
    method = {**HARMONIC, "model": {**HARMONIC["model"], "training": {**HARMONIC["model"]["training"], "min_steps": 70}}}
    for name, calls in (("fit", fitted), ("sample", sampled)):
        monkeypatch.setattr(Harmonic, name, _counted(getattr(Harmonic, name), calls))
    monkeypatch.setattr(NewRowSynthesis, "__call__", _counted(NewRowSynthesis.__call__, scored))
    sampling = {**method["sampling"], "decoding": {**method["sampling"]["decoding"], "temperature": 0.5}}
    compute = {**method["compute"], "checkpoint_minutes": 1.0}
    expected = []
    for changes, done in [
        ({}, (1, 1, 1)),
        ({}, (0, 0, 0)),
        ({"method": {**method, "compute": compute}}, (0, 0, 0)),
        ({"method": {**method, "compute": {**compute, "compile": "auto", "strategy": "single"}}}, (0, 0, 0)),
        ({"metrics": {"dcr": DCR, "nrs": NRS, "more": DCR}}, (0, 0, 0)),
        ({"n_samples": 5}, (0, 1, 1)),
        ({"method": {**method, "sampling": sampling}}, (0, 1, 1)),
        ({"method": {**method, "k": 3}}, (1, 1, 1)),
        ({"seed": 1}, (1, 1, 1)),
    ]:
        before = len(fitted), len(sampled), len(scored)
        result = run_cell({**cell(method), **changes})
        assert result.error is None, result.error
        after = len(fitted), len(sampled), len(scored)
        expected.append((tuple(b - a for a, b in zip(before, after, strict=True)), done))
    assert [got for got, _ in expected] == [done for _, done in expected]


def test_rows_written_by_newer_code_are_other_rows(cell):
    """Oracle: by hand: a key that knows the version, and one that is as it was where there is none."""
    config, plain = cell(HARMONIC), build(HARMONIC)
    free = {**HARMONIC["sampling"], "decoding": {**HARMONIC["sampling"]["decoding"], "form": "free"}}
    assert plain.sampling_version is None
    assert build({**HARMONIC, "sampling": free}).sampling_version == 2
    unversioned, newer = SimpleNamespace(), SimpleNamespace(sampling_version=2)
    before = keys.sample_key(config, unversioned, "fit", 10)
    assert keys.sample_key(config, plain, "fit", 10) == before
    assert keys.sample_key(config, newer, "fit", 10) != before


def test_options_that_came_later_leave_old_results_theirs():
    """Oracle: the committed records of the default method: their keys, of configurations without and with those options; a
    group that was set to nothing, in a cell that failed, is told as it is."""
    files = sorted(Path("results/runs/affairs/harmonic/base").glob("seed*/record.json"))
    assert files
    for file in files:
        method = record.read(file).config["method"]
        plain = fit_meaning(method)
        later = {
            **method,
            "model": {**method["model"], "quantize": None},
            "compute": {**method["compute"], "compile": "auto", "strategy": "single"},
        }
        assert fit_meaning(later) == plain
        assert fit_meaning({**method, "compute": None}) != plain
        asked = {**later, "model": {**later["model"], "quantize": "nf4"}}
        assert fit_meaning(asked) != plain


@pytest.mark.paper_data
def test_the_records_of_the_default_method_are_this_codes(paper_data_dir):
    """Oracle: the keys of the committed records: what this code and its configuration would ask its cache for."""
    files = sorted(Path("results/runs").glob("*/harmonic/base/seed*/record.json"))
    assert {file.parts[2] for file in files} >= {"german", "adult", "diabetes", "buddy", "affairs"}
    default = OmegaConf.to_container(OmegaConf.load("conf/method/harmonic.yaml"))
    references = {"model", "compute"}
    for file in files:
        done = record.read(file)
        own = {name: value for name, value in done.config["method"].items() if name not in references}
        assert own == {name: value for name, value in default.items() if name not in references}, file
        split = datasets.load_dataset(done.cell.dataset, seed=done.cell.seed, data_dir=paper_data_dir)
        method = build(done.config["method"])
        fit = keys.fit_key(done.config, method, split)
        assert keys.sample_key(done.config, method, fit, done.config["n_samples"] or len(split.train)) == done.cell.key, file


def test_a_record_holds_tokens_per_second(cell):
    """Oracle: the tokens that the method reports, over the seconds of the same record; a copy reads none."""
    costs = (done := run_cell(cell(HARMONIC))).costs
    for stage in ("fit", "sample"):
        tokens = costs[f"{stage}_tokens_per_s"] * costs[f"time_{stage}_s"]
        assert round(tokens) == done.fit[f"tokens_{stage}"] > 42 * len(["size", "colour", "y"])
    assert not [name for name in run_cell(cell()).costs if "tokens" in name]


def test_what_the_prompts_showed_is_kept_with_the_rows(cell, tmp_path, monkeypatch):
    """Oracle: the metric's score of the run that sampled; rows cached without it are refused in a sentence."""
    copying = {"_target_": "harmonic.metrics.attacks.prompt_copy.PromptCopy", "tail": 0.02}
    method = {**HARMONIC, "sampling": {"_target_": "harmonic.method.Sampling", "prompts": "neighbours"}}
    run_cell(cell(method, metrics={"nrs": NRS}))
    (kept,) = (tmp_path / "cache" / "sample").rglob("prompt_rows.npy")
    assert np.load(kept).shape == (42, 10)
    monkeypatch.setattr("harmonic.method.Harmonic.sample", interrupt)
    done = run_cell(cell(method, metrics={"nrs": NRS, "copying": copying}))
    assert done.error is None
    assert done.values["prompt_rows_shown"] == len(np.unique(np.load(kept))) / 42
    kept.unlink()
    (kept.parent / DONE).write_text("")  # of a version that kept neither
    failed = run_cell(cell(method, metrics={"copying": {**copying, "tail": 0.03}}))
    assert (failed.error["stage"], failed.error["type"]) == ("score copying", "BadInput")
    assert run_cell(cell(COPY, metrics={"copying": copying})).values == {}


def _counted(function, calls):
    def counted(*args, **kwargs):
        calls.append(1)
        return function(*args, **kwargs)

    return counted


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def half_saved(table, folder, schema=None):
    (folder / "table.csv").write_text("half")
    raise KeyboardInterrupt


BREAKS = {
    "fit": ("baselines.independent.Independent.fit", interrupt),
    "saving the fit": ("baselines.independent.save_table", half_saved),
    "sample": ("baselines.independent.Independent.sample", interrupt),
    "saving the sample": ("harmonic.bench.save_table", half_saved),
    "score": ("harmonic.metrics.distance.NewRowSynthesis.__call__", interrupt),
    "record": ("harmonic.record.write_atomically", interrupt),
}


@pytest.mark.parametrize("place", BREAKS)
def test_an_interrupted_cell_ends_as_an_unbroken_one(cell, tmp_path, monkeypatch, place):
    """Oracle: the unbroken run. What was interrupted leaves no record and no stage that counts as done."""
    run_cell(cell(INDEPENDENT, tmp_path / "unbroken"))
    with monkeypatch.context() as broken:
        broken.setattr(*BREAKS[place])
        with pytest.raises(KeyboardInterrupt):
            run_cell(cell(INDEPENDENT, tmp_path / "broken"))
    assert records_in(tmp_path / "broken") == []
    done = {path.parent.parent.name for path in (tmp_path / "broken").rglob("DONE")}
    finished = {"fit": 0, "saving the fit": 0, "sample": 1, "saving the sample": 1, "score": 3, "record": 3}[place]
    assert done == set(("fit", "sample", "score")[:finished])
    run_cell(cell(INDEPENDENT, tmp_path / "broken"))
    assert one_record(tmp_path / "broken") == one_record(tmp_path / "unbroken")
    assert not list((tmp_path / "broken").rglob("*.tmp"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that can be forked")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("place", BREAKS)
def test_a_killed_process_ends_as_an_unbroken_one(cell, tmp_path, monkeypatch, place):
    """Oracle: the unbroken run; here the process dies without a word, and nothing of it can tidy up."""
    run_cell(cell(INDEPENDENT, tmp_path / "unbroken"))

    def die(*args, **kwargs):
        if place.startswith("saving"):
            (args[1] / "table.csv").write_text("half")
        os._exit(9)

    child = os.fork()
    if not child:
        try:
            monkeypatch.setattr(BREAKS[place][0], die)
            run_cell(cell(INDEPENDENT, tmp_path / "broken"))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert records_in(tmp_path / "broken") == []
    run_cell(cell(INDEPENDENT, tmp_path / "broken"))
    assert one_record(tmp_path / "broken") == one_record(tmp_path / "unbroken")


def test_fine_tuning_that_was_interrupted_is_taken_up(cell, tmp_path, monkeypatch):
    """Oracle: the unbroken run, record and rows; and that the second run trains only what was left."""
    run_cell(cell(HARMONIC, tmp_path / "unbroken"))
    original, steps = FineTuning.training_step, []

    def stop_at_fifty(self, batch, number):
        steps.append(number)
        if len(steps) == 50:
            raise KeyboardInterrupt
        return original(self, batch, number)

    monkeypatch.setattr(FineTuning, "training_step", stop_at_fifty)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell(HARMONIC, tmp_path / "broken"))
    assert len(list((tmp_path / "broken" / "cache" / "work").rglob("last.ckpt"))) == 1
    run_cell(cell(HARMONIC, tmp_path / "broken"))
    assert len(steps) == 50 + 80 - 49
    assert one_record(tmp_path / "broken") == one_record(tmp_path / "unbroken")
    assert not list((tmp_path / "broken" / "cache" / "work").rglob("*.ckpt"))


class Broken:
    """A method that does what is asked of it to the letter of `kind`."""

    def __init__(self, kind):
        self.kind = kind

    def fit(self, train, *, seed, work_dir=None):
        if self.kind == "raises":
            raise ZeroDivisionError("by design")
        self.train = train
        return self

    def sample(self, n, *, seed, work_dir=None):
        rows = self.train.head(n)
        if self.kind == "short":
            return rows.head(n - 1)
        if self.kind == "empty":
            return rows.head(0)
        if self.kind == "lacks a column":
            return rows.drop(columns="colour")
        if self.kind == "unknown category":
            return rows.assign(colour="green")
        return rows

    def save(self, folder):
        (folder / "nothing").touch()


def run_broken(cell, kind, **changes):
    return run_cell({**cell({"_target_": f"{__name__}.Broken", "kind": kind}), **changes})


def test_a_method_that_fails_leaves_a_record_with_the_error(cell, tmp_path):
    """Oracle: the exception itself, its stage and trace; what was known before it is there."""
    failed = run_broken(cell, "raises")
    assert (failed.error["stage"], failed.error["type"], failed.error["message"]) == (
        "fit",
        "ZeroDivisionError",
        "by design",
    )
    assert "by design" in failed.error["trace"]
    assert failed.status == "failed"
    assert failed.digests["split"]
    (path,) = records_in(tmp_path)
    assert json.loads(path.read_text()) == json.loads(json.dumps(asdict(failed)))
    assert not (path.parent / "synthetic.csv").exists()
    assert not list(tmp_path.rglob("DONE"))


@pytest.mark.parametrize("kind", ["short", "empty"])
def test_fewer_rows_than_asked_are_a_failure(cell, tmp_path, kind):
    """Oracle: the rule: never a shorter file; nothing is scored."""
    failed = run_broken(cell, kind)
    assert (failed.status, failed.error["stage"], failed.error["type"]) == ("failed", "sample", "SamplingFailed")
    assert "42 rows" in failed.error["message"]
    assert failed.scores == {}
    assert "trace" not in failed.error
    assert not list((tmp_path / "runs").rglob("synthetic.csv"))


@pytest.mark.parametrize("kind", ["lacks a column", "unknown category"])
def test_rows_that_break_the_schema_are_a_failure_of_sampling(cell, tmp_path, kind):
    """Oracle: the rule that every row is valid; it must not surface as a metric's error, or not at all."""
    failed = run_broken(cell, kind)
    assert (failed.status, failed.error["stage"]) == ("failed", "sample")
    assert "colour" in failed.error["message"]
    assert not (tmp_path / "cache" / "sample").exists() or not list((tmp_path / "cache" / "sample").rglob("DONE"))


@pytest.mark.parametrize(
    ("stage", "name"), [("fit", "table.csv"), ("fit", "stage.json"), ("sample", "table.csv"), ("score", "score.json")]
)
def test_a_damaged_cache_is_made_again(cell, tmp_path, caplog, stage, name):
    """Oracle: the record and the rows of the unbroken run."""
    first = run_cell(cell(INDEPENDENT))
    file = next((tmp_path / "cache" / stage).rglob(name))
    text = file.read_text()
    file.write_text("".join(text.splitlines(keepends=True)[:3])[:-1])
    again = run_cell(cell(INDEPENDENT))
    assert again.status == "done" and meaning(asdict(again)) == meaning(asdict(first))
    assert "damaged" in caplog.text
    assert len(pd.read_csv(again.cell.folder(tmp_path / "runs") / "synthetic.csv")) == 42


def test_a_cell_that_is_done_stays_done_where_its_file_is_away(cell, tmp_path):
    """Oracle: the only record; a cell that never was done has one of its failure, and another configuration is another."""
    done = run_cell(cell(INDEPENDENT))
    (tmp_path / "mine.csv").rename(tmp_path / "away.csv")
    assert run_cell(cell(INDEPENDENT)).status == "failed"
    assert [(found.cell, found.status) for found in map(record.read, records_in(tmp_path))] == [(done.cell, "done")]
    for change in ({"seed": 1}, {"n_samples": 7}):
        assert run_cell(cell(INDEPENDENT, **change)).status == "failed"
    assert [record.read(path).status for path in records_in(tmp_path)].count("failed") == 2


def test_rows_of_a_generator_that_collapsed_are_scored(cell, tmp_path):
    """Oracle: the rule: what is wrong with rows is for metrics to say; one class, and numbers beyond train."""
    rows = pd.read_csv(tmp_path / "mine.csv").iloc[:20]
    numeric = rows.select_dtypes("number").columns[0]
    rows.assign(**{numeric: rows[numeric] + 1e4, rows.columns[-1]: rows.iloc[0, -1]}).to_csv(tmp_path / "s.csv", index=False)
    done = run_cell(cell({"_target_": "baselines.file.File", "path": str(tmp_path / "s.csv")}))
    assert done.error is None and done.status == "done"


class Vandal:
    """A metric that writes into its table."""

    def __call__(self, split, synthetic, *, seed, synthesizer=None):
        synthetic.iloc[:, 0] = 0
        return {"vandal": 1.0}


def test_a_metric_cannot_change_what_the_next_one_sees(cell):
    """Oracle: a copy of train has no new row."""
    done = run_cell(cell(COPY, metrics={"a": {"_target_": "tests.test_bench.Vandal"}, "nrs": NRS}))
    assert done.values == {"vandal": 1.0, "nrs": 0.0, "nrs_holdout": done.values["nrs_holdout"]}


@pytest.mark.parametrize(
    ("part", "node"), [("dataset", {"path": "mine.csv", "name": None}), ("method", {}), ("metrics", {"mine": {"a": 1}})]
)
def test_a_configuration_without_a_class(cell, one_sentence, part, node):
    """Oracle: the rule for what a user can cause."""
    failed = run_cell(cell() | {part: node})
    one_sentence(failed.error["message"], "must name its class in _target_")


@pytest.mark.parametrize("n", [0, -3, 2.5, "ten"])
def test_a_number_of_rows_that_is_none(cell, one_sentence, tmp_path, n):
    """Oracle: the rule for what a user can cause; 0 is not taken for "as many as train", and nothing is recorded."""
    with pytest.raises(BadInput) as error:
        run_cell(cell(n_samples=n))
    one_sentence(error.value, "n_samples", str(n))
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize("seed", [-1, "zero", None, 0.5, [0, 1], True])
def test_a_seed_that_is_none(cell, one_sentence, tmp_path, seed):
    """Oracle: the same rule."""
    with pytest.raises(BadInput) as error:
        run_cell(cell(seed=seed))
    one_sentence(error.value, "seed", str(seed))
    assert not list(tmp_path.rglob("record.json"))


def test_as_many_rows_as_asked(cell):
    """Oracle: the number; null is as many as train has, which is .7 of 60."""
    for n, expected in ((None, 42), (7, 7), (100, 100)):
        done = run_cell(cell(INDEPENDENT, n_samples=n))
        config = cell()
        path = done.cell.folder(Path(config["results_dir"])) / "synthetic.csv"
        assert len(pd.read_csv(path)) == expected


def test_a_cell_that_failed_and_then_did_not_leaves_one_record(cell, tmp_path, monkeypatch):
    """Oracle: the rule that tables show failures: one that was mended must not be shown for ever beside its success."""

    def full(*args, **kwargs):
        raise MemoryError("once")

    with monkeypatch.context() as broken:
        broken.setattr("baselines.copy.Copy.fit", full)
        assert run_cell(cell()).status == "failed"
    assert run_cell(cell()).status == "done"
    (path,) = records_in(tmp_path)
    assert record.read(path).status == "done"


def test_a_metric_with_other_files_is_another_score(cell, monkeypatch):
    """Oracle: by hand: the same file's score is taken up, another file's is computed anew."""
    asked = []
    metric = "harmonic.metrics.distance.NewRowSynthesis"

    def score(self, split, synthetic, *, seed, synthesizer=None):
        asked.append(self.digest_inputs()["model"])
        return {"nrs": 0.5}

    monkeypatch.setattr(f"{metric}.__call__", score)
    for content in ("old", "old", "new"):
        monkeypatch.setattr(f"{metric}.digest_inputs", lambda self, content=content: {"model": content}, raising=False)
        run_cell(cell(metrics={"nrs": NRS}))
    assert asked == ["old", "new"]


def test_a_metric_of_another_version_is_another_score(cell, monkeypatch):
    """Oracle: calls counted: one metric's code changed, and of two the other's score is taken up."""
    asked = []

    def score(self, split, synthetic, *, seed, synthesizer=None):
        asked.append(type(self).__name__)
        return {}

    for name in ("NewRowSynthesis", "DistanceToClosestRecord"):
        monkeypatch.setattr(f"harmonic.metrics.distance.{name}.__call__", score)
    for version in (1, 2, 2):
        monkeypatch.setattr("harmonic.metrics.distance.NewRowSynthesis.version", version, raising=False)
        run_cell(cell(metrics={"nrs": NRS, "dcr": DCR}))
    assert asked == ["NewRowSynthesis", "DistanceToClosestRecord", "NewRowSynthesis"]


def test_a_metric_that_fails_keeps_what_others_scored(cell, tmp_path, monkeypatch):
    """Oracle: by hand: nndr comes after and is scored all the same; after the repair nothing shows that anything was."""
    nndr = {"_target_": "harmonic.metrics.distance.NearestNeighbourDistanceRatio"}
    metrics = {"dcr": DCR, "nrs": NRS, "nndr": nndr}
    run_cell(cell(COPY, tmp_path / "unbroken", metrics=metrics))

    def fail(*args, **kwargs):
        raise RuntimeError("by design")

    with monkeypatch.context() as broken:
        broken.setattr("harmonic.metrics.distance.NewRowSynthesis.__call__", fail)
        failed = run_cell(cell(metrics=metrics))
    assert failed.status == "failed"
    assert failed.error["stage"] == "score nrs"
    assert set(failed.scores) == {"dcr", "nndr"}
    with monkeypatch.context() as broken:
        for name in ("NewRowSynthesis", "DistanceToClosestRecord"):
            broken.setattr(f"harmonic.metrics.distance.{name}.__call__", fail)
        again = run_cell(cell(COPY, tmp_path / "both", metrics=metrics))
    assert (again.error["stage"], again.error["message"]) == ("score dcr", "by design | nrs: by design")
    assert again.error["also"] == "nrs"
    run_cell(cell(metrics=metrics))
    assert one_record(tmp_path) == one_record(tmp_path / "unbroken")


def test_bad_data_is_a_failure_of_data(cell, tmp_path, one_sentence):
    """Oracle: the rule for what a user can cause; the record names the data set though it was never read."""
    missing = {"_target_": "harmonic.datasets.File", "path": str(tmp_path / "no.csv"), "name": "gone"}
    failed = run_cell(cell(dataset=missing))
    assert (failed.status, failed.error["stage"], failed.cell.dataset) == ("failed", "data", "gone")
    one_sentence(failed.error["message"], "no.csv")


class Spy:
    """A metric that keeps what it was last given."""

    seen: tuple = ()

    def __call__(self, split, synthetic, *, seed, synthesizer=None):
        Spy.seen = split, synthetic, seed, synthesizer
        return {"spy": 1.0}


def test_metrics_see_the_rows_that_were_kept(cell, tmp_path):
    """Oracle: the table in the cache, whose digest the record holds; a metric gets it, the split and the method."""
    done = run_cell(cell(INDEPENDENT, metrics={"spy": {"_target_": f"{__name__}.Spy"}}))
    assert done.error is None
    split, synthetic, seed, synthesizer = Spy.seen
    (folder,) = (tmp_path / "cache" / "sample").iterdir()
    pd.testing.assert_frame_equal(synthetic, load_table(folder))
    assert isinstance(split, Split)
    assert isinstance(seed, int)
    assert synthesizer.train is not None
    assert done.values == {"spy": 1.0}


HOLDOUT = {"_target_": "baselines.holdout.Holdout"}
TABDDPM = {"_target_": "baselines.tabddpm.TabDdpm", "budget": "smoke", "compute": HARMONIC["compute"]}


def test_the_real_hold_out_is_val(cell, tmp_path):
    """Oracle: the split: every row of val, once, none of train's or test's seed; more than there are is refused."""
    config = cell(HOLDOUT)
    split = build(config["dataset"]).load(0)
    done = run_cell(config)
    assert done.error is None
    assert done.fit["rows_held"] == len(split.val)
    synthetic = pd.read_csv(next((tmp_path / "runs").rglob("synthetic.csv")))
    names = list(split.val.columns)
    pd.testing.assert_frame_equal(
        synthetic.sort_values(names).reset_index(drop=True), split.val.sort_values(names).reset_index(drop=True)
    )
    refused = run_cell(cell(HOLDOUT, n_samples=len(split.val) + 1))
    assert refused.error["type"] == "BadInput"
    assert "leave n_samples null" in refused.error["message"]


def test_another_recipe_behind_a_budget_is_another_fit(cell, tmp_path, monkeypatch):
    """Oracle: the stage's folders: one more after the budget's meaning changed, none for the same meaning."""
    import baselines.tabddpm as tabddpm

    def fits():
        run_cell(cell(TABDDPM))
        return len(list((tmp_path / "cache" / "fit").iterdir()))

    assert (fits(), fits()) == (1, 1)
    changed = replace(tabddpm.BUDGETS["smoke"], steps=3)
    monkeypatch.setitem(tabddpm.BUDGETS, "smoke", changed)
    assert fits() == 2
