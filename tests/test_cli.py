"""The command line. Oracles: the rule that a user's mistake is one line with a cure, and the records a command leaves."""

import json
import logging
import re
import runpy
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from tests.cells import write_csv

RUN = Path(__file__).parent.parent / "run.py"
CHEAP = ("metrics=nrs", "threads=1", "model=scratch", "trainer=cpu", "trainer.precision=32-true")
TINY = (
    *("model.hidden_size=32", "model.layers=1", "model.heads=2", "model.mlp_size=64", "model.vocab_size=300"),
    *("model.training.min_steps=2", "model.training.batch_size=8"),
)


@pytest.fixture
def csv(tmp_path):
    return write_csv(tmp_path / "mine.csv")


@pytest.fixture
def arguments(tmp_path):
    """Where a command may write: nowhere but in a test's own folder."""
    folders = (f"results_dir={tmp_path / 'runs'}", f"cache_dir={tmp_path / 'cache'}")
    return [*CHEAP, *folders, f"hydra.sweep.dir={tmp_path / 'sweep'}"]


@pytest.fixture
def command(arguments, tmp_path, monkeypatch, capfd):
    """`python run.py …` within this process: exit status, standard output, standard error."""

    def call(*own):
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        for variable in ("HYDRA_FULL_ERROR", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            monkeypatch.setenv(variable, "1")
        monkeypatch.setenv("HARMONIC_DATA_DIR", "")  # as if there were none
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments, *own])
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as end:
                runpy.run_path(str(RUN), run_name="__main__")
        finally:
            root.handlers, root.level = handlers, level
        return end.value.code, *capfd.readouterr()

    return call


@pytest.fixture
def process(arguments, tmp_path):
    """The same in a process of its own."""

    def call(*own):
        flags = [word for word in own if word.startswith("-")]
        line = [sys.executable, str(RUN), *flags, *arguments, *(word for word in own if word not in flags)]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        return done.returncode, done.stdout, done.stderr

    return call


def check_mistake(answer, *words):
    """Not zero, no traceback, and the mistake told in one line that holds these words."""
    status, out, err = answer
    text = out + err
    assert status not in (0, None), text
    assert "Traceback" not in text
    told = [line for line in text.splitlines() if all(word in line for word in words)]
    assert told, text
    assert not re.search(r"\bat 0x[0-9a-f]+|<class ", text)


def records_in(folder):
    return sorted((folder / "runs").rglob("record.json"))


@pytest.mark.slow
def test_a_sweep_prints_one_table(process, csv, tmp_path):
    """Oracle: by hand: two methods by two seeds are four records and, beside the hold-out, two lines of each sheet."""
    answer = process("-m", "dataset=csv", f"dataset.path={csv}", "method=copy,independent", "seed=0,1")
    status, out, err = answer
    assert status == 0, out + err
    assert len(records_in(tmp_path)) == 4
    assert out.count("| method") == len(["privacy", "cost"])
    privacy = out.partition("\nprivacy\n")[2].partition("\ncost\n")[0]
    lines = [line for line in privacy.splitlines() if line.startswith("| ")]
    header = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    table = [dict(zip(header, (cell.strip() for cell in line.split("|")[1:-1]), strict=True)) for line in lines[1:]]
    assert [row["method"] for row in table] == ["copy", "independent", "real hold-out"]
    assert [row["seeds"] for row in table] == ["2", "2", "2"]
    assert table[0]["NRS (= hold-out)"] == "0.000 ± 0.000"


def test_a_folder_that_is_not_there_while_offline(command, tmp_path, monkeypatch):
    """Oracle: the rule, and the clock: the download gives up at once, and one line names folder, files and way out."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies it saw first
    started = time.monotonic()
    answer = command("dataset=german", "method=copy")
    assert time.monotonic() - started < 30
    check_mistake(answer, " data/german", "train.csv", "HARMONIC_DATA_DIR", "affairs")
    assert not (tmp_path / "data").exists()


def test_the_whole_way_with_a_language_model(command, csv, tmp_path):
    """Oracle: the contract: without masks, a model that learnt nothing fails in sampling, its references stand, and the
    status says so; with them it writes all of its rows at the first try, and the record says what they did."""
    own = ("dataset=csv", f"dataset.path={csv}", "method=harmonic", *TINY, "method.k=2")
    answer = command(*own, "method.sampling.decoding.form=given")
    check_mistake(answer, "mine/harmonic", "failed in sample", "rows were valid after")
    assert len(records_in(tmp_path)) == 3
    assert "failed" in answer[1]
    status, out, _ = command(*own, "dataset.columns={size: {high: 100}}")
    assert status == 0
    rows = Path(out.strip().splitlines()[-1].removeprefix("rows: "))
    assert rows.name == "synthetic.csv"
    assert len(pd.read_csv(tmp_path / rows)) == 42
    found = [json.loads(path.read_text()) for path in records_in(tmp_path)]
    (done,) = [record for record in found if record["cell"]["method"] == "harmonic" and record["status"] == "done"]
    assert done["fit"]["generation"]["validity"] == 1
    assert list(done["fit"]["masks"]) == ["size", "colour", "y"]


@pytest.mark.parametrize(
    ("content", "own", "words"),
    [
        ("size,y\n" + "1,a\n2,b\n" * 9, ("dataset.target=price",), ("'price'", "size, y", "dataset.target")),
        ("size,y\n" + "1,a\n2,a\n" * 9, (), ("target 'y'", "two classes")),
        ("size,tone,y\n" + "1,x,a\n2,x,b\n" * 9, (), ("'tone'", "one value", "dataset.drop")),
        ("", (), ("mine.csv", "is empty")),
        (b"size,y\n1,caf\xe9\n", (), ("mine.csv", "UTF-8", "0xe9")),
        (None, (), ("mine.csv", "there is none")),
        ("size,y\n" + "1,a\n2,b\n" * 9, ("n_samples=0",), ("n_samples", "is 0")),
        ("size,y\n" + "1,a\n2,b\n" * 9, ("seed=-1",), ("seed", "is -1")),
        (None, ("dataset.path=null",), ("dataset.path", "is null")),
    ],
    ids=["target", "one class", "constant", "empty", "encoding", "missing", "n_samples", "seed", "null"],
)
def test_bad_data_and_bad_numbers(command, tmp_path, content, own, words):
    """Oracle: the rule; and it is told once, not once per reference method."""
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    answer = command("dataset=csv", f"dataset.path={path}", "method=smote", *own)
    check_mistake(answer, *words)
    assert not list((tmp_path / "cache").rglob("DONE")) if (tmp_path / "cache").exists() else True


def test_a_category_that_train_lacks(command, csv, tmp_path):
    """Oracle: the rule; names file, column, row and value."""
    test = tmp_path / "test.csv"
    pd.read_csv(csv).assign(colour="green").to_csv(test, index=False)
    answer = command("dataset=csv", f"dataset.path={csv}", f"dataset.test_path={test}", "method=copy")
    check_mistake(answer, "test.csv", "'colour'", "row 1", "'green'")


def test_methods_that_cannot_be(command, csv, tmp_path):
    """Oracle: the rule. The references are run all the same; their records show what the method would be read against."""
    short = tmp_path / "short.csv"
    pd.read_csv(csv).head(18).to_csv(short, index=False)  # 12 rows of train
    check_mistake(
        command("dataset=csv", f"dataset.path={short}", "method=smote", "method.k=50"), "method.k", "50", "lower it"
    )
    assert len(records_in(tmp_path)) == 3
    check_mistake(
        command("dataset=csv", f"dataset.path={csv}", "method=harmonic", "method.k=12"), "method.k", "1 and 9", "12"
    )
    check_mistake(
        command("dataset=csv", f"dataset.path={csv}", "method=file", f"method.path={tmp_path / 'no.csv'}"), "no.csv"
    )
    check_mistake(command("dataset=csv", f"dataset.path={csv}", "method=file"), "method.path")


def test_a_model_folder_without_a_tokenizer(command, csv, tmp_path, tiny_model):
    """Oracle: the rule; and an empty folder, and none at all."""
    tiny_model("llama", 300).save_pretrained(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    for folder, word in (
        ("model", "a tokenizer"),
        ("empty", "a causal language model"),
        ("none", "a causal language model"),
    ):
        path = str(tmp_path / folder)
        answer = command("dataset=csv", f"dataset.path={csv}", "method=harmonic", "model=gpt2", f"model.path={path}")
        check_mistake(answer, path, word, "model=base")


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (("methot=copy",), ("methot",)),
        (("method=copies",), ("copies", "harmonic")),
        (("dataset=wine", "method=smote", "method.kk=3"), ("kk",)),
        (("dataset=csv", "method=copy"), ("dataset.path",)),
        (("dataset=wine", "method=copy", "dataset.drop=[a"), ("'[a'",)),
        (("dataset=wine", "method=copy", "threads=many"), ("threads", "many")),
        (("dataset=wine", "method=copy", "threads=0"), ("threads", "0")),
        (("dataset=wine", "method=copy", "metrics=null"), ("Config group override", "[] is none")),
        (("dataset=wine", "method=copy", "dry_run=no"), ("dry_run", "true or false", "'no'")),
        (("dataset=wine", "method=copy", "isolate=maybe"), ("isolate", "'maybe'")),
        (("dataset=wine", "method.compute=null"), ("method.compute", "a group of options", "None")),
        (("dataset=wine", "method=copy", "n_samples=true"), ("n_samples", "a whole number", "True")),
        (("dataset=wine", "method=copy", "references=copy"), ("references", "'copy'")),
        (("dataset=wine", "method=copy", "cache_dir=null"), ("cache_dir", "a folder", "None")),
        (("dataset=[]", "method=copy"), ("dataset", "None")),
        (("dataset=wine", "method=shuffled_target", "label=copy"), ("label", "'copy'", "references=null")),
    ],
    ids=[
        *("group", "choice", "option", "missing path", "syntax", "type", "no threads", "no metrics"),
        *(
            "no boolean",
            "neither",
            "no group",
            "no number",
            "a word",
            "no folder",
            "no data",
            "a reference's name",
        ),
    ],
)
def test_unknown_overrides(command, tmp_path, own, words):
    """Oracle: the rule; a misspelt option must never be run as if it were not there."""
    check_mistake(command(*own), *words)
    assert records_in(tmp_path) == []


def test_rows_without_scores(command, csv, tmp_path):
    """Oracle: the record: no metric, and rows all the same."""
    status, out, _ = command("dataset=csv", f"dataset.path={csv}", "method=copy", "references=null", "metrics=[]")
    (path,) = records_in(tmp_path)
    assert status == 0 and str(path.with_name("synthetic.csv")) in out
    assert json.loads(path.read_text())["scores"] == {}


@pytest.mark.slow
def test_a_budget_for_a_whole_sweep(process, csv, tmp_path):
    """Oracle: Hydra's plus, which refuses a key that has a value: a method with a budget takes it, one without leaves it."""
    answer = process("-m", "dataset=csv", f"dataset.path={csv}", "method=copy,tabddpm", "+method.budget=smoke")
    assert answer[0] == 0, answer
    budgets = {}
    for path in records_in(tmp_path):
        plain = json.loads(path.read_text())
        budgets[path.parts[-4]] = plain["config"]["method"].get("budget")
    assert budgets == {"copy": None, "independent": None, "tabddpm": "smoke"}


def test_an_unknown_option_that_is_added_with_a_plus(command, tmp_path):
    """Oracle: the rule; the constructor refuses what no YAML lists."""
    check_mistake(command("dataset=wine", "method=smote", "+method.kk=3"), "kk")


def test_no_credential_of_a_models_address_is_written_down(command, csv, tmp_path):
    """Oracle: every byte that the command leaves and says."""
    path = "https://joe:hf_0123456789@example.org/model"
    answer = command("dataset=csv", f"dataset.path={csv}", "method=harmonic", "model=gpt2", f"model.path='{path}'")
    assert answer[0] == 1
    assert "https://***@example.org/model" in answer[1] + answer[2]
    for content in (*answer[1:], *(file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file())):
        assert "hf_0123456789" not in content


def test_a_label_names_the_record(command, tmp_path):
    """Oracle: the contract of `label`."""
    assert command("dataset=wine", "method=smote", "label=smote3", "method.k=3")[0] == 0
    names = {json.loads(path.read_text())["cell"]["method"] for path in records_in(tmp_path)}
    assert names == {"copy", "independent", "smote3"}


def test_a_command_leaves_nothing_where_it_was_called(command, tmp_path):
    """Oracle: the folders it was given."""
    assert command("dataset=wine", "method=copy")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "cache"}


def test_sampling_killed_in_the_middle_gives_the_same_table(csv, arguments, tmp_path):
    """Oracle: a run that nobody killed, byte for byte; SIGKILL once the first shards are down, and they are not redone."""
    few = [name for name in arguments if not name.startswith(("results_dir", "cache_dir"))]

    def start(folder):
        where = [f"results_dir={tmp_path / folder / 'runs'}", f"cache_dir={tmp_path / folder / 'cache'}"]
        own = [f"dataset.path={csv}", "dataset=csv", "method=harmonic", "references=null", "n_samples=1500", *TINY]
        return subprocess.Popen([sys.executable, str(RUN), *few, *where, *own], stderr=subprocess.DEVNULL, cwd=tmp_path)

    whole = start("whole")
    assert whole.wait(timeout=300) == 0
    killed = start("killed")
    work = tmp_path / "killed" / "cache" / "work" / "sample"
    while killed.poll() is None and len(list(work.rglob("tries-*.json"))) < 2:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait(timeout=30) == -9
    kept = {file: file.stat().st_mtime_ns for file in work.rglob("tries-*.json")}
    assert 2 <= len(kept) < 6
    assert not list((tmp_path / "killed").rglob("synthetic.csv"))
    again = start("killed")
    while again.poll() is None and len(list(work.rglob("tries-*.json"))) <= len(kept):
        time.sleep(0.01)
    assert {file: file.stat().st_mtime_ns for file in kept if file.exists()} in (kept, {})
    assert again.wait(timeout=300) == 0
    tables = [next((tmp_path / folder).rglob("synthetic.csv")).read_bytes() for folder in ("whole", "killed")]
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) == 1501
    assert not list(work.rglob("tries-*"))


@pytest.mark.slow
def test_no_secret_stands_in_anything_that_a_run_leaves(csv, arguments, tmp_path, monkeypatch):
    """Oracle: secrets put into the environment, looked for in every byte that a cell leaves and says, failed or not."""
    for name in ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HARMONIC_ANYTHING"):
        monkeypatch.setenv(name, "0123456789abcdef0123456789abcdef01234567")
    own = ["dataset=csv", f"dataset.path={csv}", "method=smote,harmonic", "model=gpt2", f"model.path={tmp_path / 'none'}"]
    line = [sys.executable, str(RUN), "-m", *[a for a in arguments if a != "model=scratch"], *own, "references=null"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, timeout=200, check=False)
    assert done.returncode == 1, done.stderr
    assert {json.loads(path.read_text())["status"] for path in records_in(tmp_path)} == {"done", "failed"}
    for content in (done.stdout, done.stderr, *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())):
        assert b"0123456789abcdef01234567" not in content


def test_an_estimate_starts_nothing(command, csv, tmp_path):
    """Oracle: the folders: neither records nor stages; a line for each stage of the cell and of its references."""
    status, out, _ = command("dataset=csv", f"dataset.path={csv}", "method=smote", "dry_run=true")
    assert status == 0
    assert [out.count(f"| {stage} ") for stage in ("fit", "sample", "score")] == [3, 3, 3]
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache").exists()


def test_names_that_lead_elsewhere(command, csv, tmp_path):
    """Oracle: the rule; nothing is written there, or anywhere."""
    for own in ("label=../../elsewhere", "dataset.name=../elsewhere", "label=/no/elsewhere"):
        check_mistake(command("dataset=csv", f"dataset.path={csv}", "method=copy", own), "must be a plain name", "elsewhere")
    assert not list(tmp_path.rglob("elsewhere"))
    assert not Path("/no").exists()
    assert not (tmp_path / "runs").exists()
