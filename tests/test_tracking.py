"""Trackers. Oracles: what the tracker's own files and a stand-in for its server hold, and the rule that none of it matters.

Each cell is shown in a process of its own, so that most of this is done once for many tests, side by side.
"""

import http.server
import json
import logging
import math
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from harmonic.build import build
from harmonic.errors import BadInput
from harmonic.record import Cell, Record, dumps, loads
from harmonic.tracking import Lightning, Wandb, apart, view

CONF = Path(__file__).parent.parent / "conf"
SECRETS = {
    "WANDB_API_KEY": "5ec2e7" * 6 + "5ec2",
    "HF_TOKEN": "hf_5ec2e7hub",
    "AWS_SECRET_ACCESS_KEY": "5ec2e7/cloud",
    "SOME_VARIABLE": "a-value-of-the-environment",
}
USER = "somebodyinparticular"
CELL = Cell("wine", "tabula", "none", 3, "0123456789abcdef")
RECORD = Record(
    CELL,
    "done",
    scores={
        "mle": {"values": {"mle_auc": 0.75, "mle_published": math.nan}, "config": {"folds": 5}, "time_s": 1.0},
        "dcr": {"values": {"dcr_mean": 2.0}, "config": {"path": "/where/it/lies/table.csv"}, "time_s": 1.0},
    },
    fit={"losses": [3.0, 2.0, 1.0], "batches": 40, "batches_done": 30, "generation": {"tried": 9, "rejected": {"a": 1}}},
    costs={"time_fit_s": 1.5, "commit_fit": "abc"},
    digests={"split": "5", "synthetic": "7"},
    data={"schema": {"names": ["name of a column"]}},
    config={"method": {"_target_": "baselines.tabula.Tabula"}, "dataset": {"path": r"C:\where\mine.csv"}, "seed": 3},
    env={"commit": "abc", "device": "a processor"},
)
FAILED = replace(
    RECORD,
    cell=replace(CELL, key="fedcba9876543210"),
    status="failed",
    scores={},
    fit={},
    error={"stage": "fit", "type": "ValueError", "message": "in /where/it/lies", "trace": "/where/it/lies/too"},
)
CSV = {
    name: value for name, value in yaml.safe_load((CONF / "logger" / "csv.yaml").read_text()).items() if name != "_target_"
}
ROWS = "size,colour,price\n1,red,0.5\n2,NA,\n3,,2.5\n"


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """No tracker is off, nothing was shown."""
    monkeypatch.setattr(apart, "_off", set())
    monkeypatch.setattr(apart, "_shown", set())


class Server(http.server.ThreadingHTTPServer):
    """Stands in for W&B's; what it does with a run is the name of its project: `fails` (500), `hangs` (no answer), `stalls`
    (takes the run and then no data), anything else (takes all)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.heard = []
        self.runs = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that has gone is the test's own doing."""

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def of(self, project):
        """What was said about a project's runs."""
        return [
            (path, text) for path, text in list(self.heard) if f"/e/{project}/" in path or f'"project":"{project}"' in text
        ]

    def answer(self, query, variables):
        if "RunResumeStatus" in query:
            model = {
                "id": "p",
                "name": "p",
                "entity": {"id": "e", "name": "e"},
                "bucket": self.runs.get((variables["project"], variables["name"])),
            }
            return {"model": model}
        if "UpsertBucket" in query:
            project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "e"}}
            run = {"id": "r", "project": project, **{name: variables[name] for name in ("name", "displayName", "config")}}
            run |= {"summaryMetrics": "{}", "historyLineCount": 3, "eventsLineCount": 0, "logLineCount": 0, "tags": []}
            run |= {"historyTail": json.dumps([json.dumps({"_step": 2})]), "eventsTail": "[]", "wandbConfig": '{"t": 1}'}
            known = self.runs.setdefault((variables["project"], variables["name"]), run)
            return {"upsertBucket": {"bucket": known, "inserted": known is run}}
        if "CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.address}/upload/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        return {}


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("content-length", 0))).decode(errors="replace")
        self.server.heard.append((self.path, text))
        body = json.loads(text) if self.path == "/graphql" else {}
        variables = body.get("variables") or {}
        project = variables.get("project") or self.path.split("/")[-3]
        if project == "hangs" or (project == "stalls" and "file_stream" in self.path):
            time.sleep(60)
        data = {"data": self.server.answer(body["query"], variables)} if body and project != "fails" else {}
        out = json.dumps(data).encode()
        self.send_response(500 if project == "fails" else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_PUT = do_POST

    def log_message(self, *args):
        pass


def transactions(folder):
    """The records of W&B's transaction logs under a folder: LevelDB's log format behind seven bytes of W&B's own."""
    from wandb.proto.wandb_internal_pb2 import Record as Transaction

    for path in sorted(folder.rglob("*.wandb")):
        data, place, whole = path.read_bytes(), 7, b""
        assert data[:4] == b":W&B"
        while place + 7 <= len(data):
            if (left := 32768 - place % 32768) < 7:
                place += left
                continue
            _, size, kind = struct.unpack_from("<IHB", data, place)
            whole += data[place + 7 : place + 7 + size]
            place += 7 + size
            if kind in (1, 4):  # whole, or last part
                found = Transaction()
                found.ParseFromString(whole)
                yield found
                whole = b""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "synthetic.csv"
    path.write_text(ROWS)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("shown")


@pytest.fixture(scope="module")
def server():
    return Server()


@pytest.fixture(scope="module")
def reasons(root, rows, server):
    """All that takes W&B itself, side by side: case to the reason why each of its records was not shown."""
    limit = 40.0
    cases = {
        "hangs": (Wandb("hangs", folder=str(root / "hangs"), timeout_s=10), [RECORD]),
        "stalls": (Wandb("stalls", folder=str(root / "stalls"), table_rows=0, timeout_s=15), [RECORD]),
        "fails": (Wandb("fails", folder=str(root / "fails"), timeout_s=10), [RECORD]),
        "takes": (Wandb("takes", folder=str(root / "takes"), table_rows=0, timeout_s=limit), [RECORD, RECORD]),
        "offline": (Wandb("p", "offline", str(root / "offline"), table_rows=2, timeout_s=limit), [RECORD, RECORD]),
        "failed": (Wandb("p", "offline", str(root / "failed"), timeout_s=limit), [FAILED]),
    }

    def run(case):
        tracker, records = case
        return [apart._run(apart._job(tracker, record, rows), tracker.timeout_s) for record in records]

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as pool:
        for name, value in {**SECRETS, "USER": USER, "LOGNAME": USER, "HOME": str(root / "home")}.items():
            patch.setenv(name, value)
        patch.setenv("WANDB_BASE_URL", server.address)
        return dict(zip(cases, pool.map(run, cases.values()), strict=True))


def config_of(run):
    return {update.key: json.loads(update.value_json) for update in run.config.update}


def items_of(update):
    """What a transaction's update sets, by name."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in update}


def test_an_offline_run_holds_the_record(reasons, root):
    """Oracle: W&B's own transaction log, read back: configuration, names, curve over true steps, scores, table, exit."""
    assert reasons["offline"] == ["", ""]
    first, second = sorted((root / "offline" / "wandb").glob("offline-run-*"))
    found = list(transactions(first))
    (run,) = [each.run for each in found if each.HasField("run")]
    assert (run.display_name, run.run_group, run.job_type) == ("wine/tabula/none/seed3", "wine", "tabula")
    assert sorted(run.tags) == ["done", "none", "tabula"]
    config = config_of(run)
    assert {name: config[name] for name in ("dataset", "method", "model", "seed", "key")} == asdict(CELL)
    assert config["digests"] == RECORD.digests
    assert config["env"] == RECORD.env
    assert config["metrics"] == {"mle": {"folds": 5}, "dcr": {"path": "table.csv"}}
    assert config["config"]["dataset"] == {"path": "mine.csv"}
    history = [items_of(each.history.item) for each in found if each.HasField("history")]
    assert [(point["fit/step"], point["fit/loss"]) for point in history] == [(10, 3.0), (20, 2.0), (30, 1.0)]
    summary = {}
    for each in found:
        summary |= items_of(each.summary.update)
    assert {name: summary[name] for name in ("mle/mle_auc", "dcr/dcr_mean", "cost/time_fit_s", "fit/loss")} == {
        "mle/mle_auc": 0.75,
        "dcr/dcr_mean": 2.0,
        "cost/time_fit_s": 1.5,
        "fit/loss": 1.0,
    }
    assert (summary["status"], summary["error"]) == ("done", None)
    assert "mle/mle_published" not in summary
    table = json.loads((first / "files" / summary["synthetic"]["path"]).read_text())
    assert table == {"columns": ["size", "colour", "price"], "data": [[1, "red", 0.5], [2, "NA", None]]}
    assert [each.exit.exit_code for each in found if each.HasField("exit")] == [0]
    again = list(transactions(second))
    assert [each.run.run_id for each in again if each.HasField("run")] == [run.run_id]
    assert not [each for each in again if each.HasField("history")]


def test_a_failed_cell_is_a_failed_run(reasons, root):
    """Oracle: W&B's exit code, and that neither message nor trace is in what was written."""
    assert reasons["failed"] == [""]
    found = list(transactions(root / "failed"))
    assert [each.exit.exit_code for each in found if each.HasField("exit")] == [1]
    summary = {}
    for each in found:
        summary |= items_of(each.summary.update)
    assert (summary["status"], summary["error"]) == ("failed", "fit: ValueError")
    assert b"where/it/lies" not in b"".join(path.read_bytes() for path in (root / "failed").rglob("*") if path.is_file())


def test_an_online_run_is_resumed(reasons, server):
    """Oracle: what a stand-in for the server heard: one id, scores twice, the curve once, nothing of the machine."""
    assert reasons["takes"] == ["", ""]
    heard = [json.loads(text)["variables"] for path, text in server.of("takes") if "mutation UpsertBucket" in text]
    named = [variables for variables in heard if variables["displayName"]]
    assert len(named) == 2
    assert {variables["name"] for variables in heard} == {view.identity(CELL)}
    assert [variables["id"] for variables in named] == [None, "r"]
    for variables in heard:
        assert not any(variables[name] for name in ("host", "repo", "commit", "notes"))
        assert variables["program"] in (None, "run.py")
    told = [json.loads(text) for path, text in server.of("takes") if "file_stream" in path]
    curves = [part["files"]["wandb-history.jsonl"]["content"] for part in told if "wandb-history.jsonl" in part["files"]]
    points = [json.loads(line) for lines in curves for line in lines]
    assert [(point["fit/step"], point["fit/loss"]) for point in points] == [(10, 3.0), (20, 2.0), (30, 1.0)]
    ends = [part for part in told if part.get("complete")]
    assert [part["exitcode"] for part in ends] == [0, 0]
    for part in ends:
        assert json.loads(part["files"]["wandb-summary.json"]["content"][-1])["mle/mle_auc"] == 0.75


@pytest.mark.parametrize("case", ["fails", "hangs", "stalls"])
def test_a_server_that_does_not_serve(reasons, case):
    """Oracle: the reason: one line from a process that came to an end by itself or by its time-out."""
    (reason,) = reasons[case]
    assert reason
    assert "\n" not in reason


def test_nothing_of_the_user_is_written(reasons, root, server):
    """Oracle: every byte that trackers wrote or sent, searched for marked secrets, the home folder and the user's name."""
    files = [path for path in root.rglob("*") if path.is_file() and root / "home" not in path.parents]
    assert len(files) > 10
    written = {str(path): path.read_bytes() for path in files}
    written |= {f"{path} {place}": text.encode() for place, (path, text) in enumerate(server.heard)}
    for mark in (*SECRETS.values(), str(root / "home"), USER):
        assert not [place for place, content in written.items() if mark.encode() in content], mark
    assert not [path for path in (root / "home").rglob("*") if path.is_file()]


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_lightning_gets_a_folder_per_cell(tmp_path):
    """Oracle: by hand: curve, then scores; no two cells in one folder, and a cell shown again leaves the same."""
    tracker = Lightning(**{**CSV, "options": {**CSV["options"], "save_dir": str(tmp_path / "csv")}})
    for record in (RECORD, FAILED, RECORD):
        tracker.send(record, None)
    done, failed = (tmp_path / "csv" / "wine" / "tabula" / "none" / f"seed3-{key}" for key in ("01234567", "fedcba98"))
    metrics = pd.read_csv(done / "metrics.csv")
    curve = metrics.dropna(subset="fit/loss")
    assert list(zip(curve["step"], curve["fit/loss"], strict=True)) == [(10, 3.0), (20, 2.0), (30, 1.0)]
    assert metrics.iloc[-1][["step", "mle/mle_auc", "dcr/dcr_mean"]].tolist() == [30, 0.75, 2.0]
    assert "status: done" in (done / "hparams.yaml").read_text()
    assert "error: 'fit: ValueError'" in (failed / "hparams.yaml").read_text()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `wandb` that does what a test says when it is imported or begins a run."""

    def make(text):
        (tmp_path / "packages").mkdir(exist_ok=True)
        (tmp_path / "packages" / "wandb.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))

    return make


def warnings_of(caplog):
    return [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]


def check_one_warning(caplog, *words):
    (line,) = warnings_of(caplog)
    assert "\n" not in line
    assert line.startswith("W&B did not take the record (")
    assert line.endswith("; it is off for this run; records are safe in their files")
    for word in words:
        assert word in line, line


BEGINS = "class Settings:\n    def __init__(self, **_): pass\n\ndef init(**_):\n    "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise ImportError('half\\ninstalled')", ("ImportError: half installed",)),
        (BEGINS + "raise RuntimeError('no\\nruns today')", ("RuntimeError: no runs today",)),
        (BEGINS + "import os, time; time.sleep(60)", ("no end after 3 s",)),
        (BEGINS + "import os; os._exit(7)", ("status 7",)),
        (BEGINS + "print('noise'); input('Your key? ')", ("EOFError",)),
    ],
    ids=["import", "exception", "hang", "crash", "question"],
)
def test_what_goes_wrong_is_told_once(package, tmp_path, caplog, capfd, text, words):
    """Oracle: one warning, the clock of the second cell, which does not wait again, and a silent console."""
    package(text)
    tracker = Wandb("p", folder=str(tmp_path / "out"), timeout_s=3 if "sleep" in text else 60)
    tracker.show(RECORD)
    check_one_warning(caplog, *words)
    started = time.monotonic()
    Wandb("p", folder=str(tmp_path / "out")).show(FAILED)
    assert time.monotonic() - started < 0.5
    assert len(warnings_of(caplog)) == 1
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_cannot_be_written(tmp_path, caplog):
    """Oracle: one warning that names it; W&B itself would write to another folder and say nothing."""
    (tmp_path / "file").write_text("")
    Wandb("p", "offline", str(tmp_path / "file" / "out")).show(RECORD)
    check_one_warning(caplog, "logger.folder", str(tmp_path / "file" / "out"))


def test_online_without_a_key_asks_for_none(tmp_path, monkeypatch, caplog):
    """Oracle: one warning with W&B's cure, though the test's own standard input waits for ever."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    Wandb("p", folder=str(tmp_path / "out")).show(RECORD)
    check_one_warning(caplog, "No API key configured", "wandb login")


def test_no_network(tmp_path, monkeypatch, caplog):
    """Oracle: the clock, and one warning; nobody listens at the address."""
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    started = time.monotonic()
    Wandb("p", folder=str(tmp_path / "out"), timeout_s=8).show(RECORD)
    assert time.monotonic() - started < 12
    check_one_warning(caplog)


def test_a_package_that_is_not_there(monkeypatch, caplog):
    """Oracle: a warning when the tracker is made, not hours later; and none of a process begun."""
    monkeypatch.setattr(apart, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was begun"))
    Wandb("p").show(RECORD)
    check_one_warning(caplog, "wandb is not installed")


def test_an_interrupt_goes_through(monkeypatch):
    """Oracle: the rule: Ctrl-C is no failure of the tracker."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Wandb("p").show(RECORD)


def test_a_record_is_shown_once_per_process(monkeypatch, rows):
    """Oracle: by hand: references come again with every cell of a sweep; another project is another place to show."""
    jobs = []
    monkeypatch.setattr(apart, "_run", lambda job, timeout_s: jobs.append(job) or "")
    for project in ("p", "p", "q"):
        for record in (RECORD, FAILED, RECORD):
            Wandb(project).show(record, rows)
    assert len(jobs) == 4


def test_the_record_is_left_as_it_is(tmp_path, monkeypatch, rows):
    """Oracle: the bytes of record.json and synthetic.csv, and the record itself."""
    monkeypatch.setattr(apart, "_run", lambda job, timeout_s: "")
    record = loads(dumps(RECORD))
    path = record.write(tmp_path / "runs")
    before, content = path.read_bytes(), dumps(record)
    for tracker in (Wandb("p"), Lightning(**CSV)):
        tracker.show(record, rows)
        tracker.show(record, tmp_path / "no.csv")
    assert path.read_bytes() == before
    assert dumps(record) == content
    assert rows.read_text() == ROWS


def test_real_rows_are_sent_nowhere(rows):
    """Oracle: the rule: what copies train or val is shown without its table, and 0 rows are none."""
    for target in ("baselines.copy.Copy", "baselines.holdout.Holdout", "baselines.controls.Control"):
        assert view.first_rows(replace(RECORD, config={"method": {"_target_": target}}), rows, 9) is None
    assert view.first_rows(RECORD, rows, 0) is None
    assert view.first_rows(RECORD, None, 9) is None
    assert len(view.first_rows(RECORD, rows, 2)) == 2


@pytest.mark.parametrize(
    ("fit", "curve"),
    [
        ({}, []),
        ({"losses": [2.0, 1.0]}, [(1, 2.0), (2, 1.0)]),
        ({"losses": [2.0, 1.0], "batches": 9}, [(4, 2.0), (9, 1.0)]),
        ({"losses": [2.0, None, 1.0], "steps": 90, "steps_done": 30}, [(10, 2.0), (30, 1.0)]),
        ({"losses": [2.0, 1.0], "batches_done": 0}, [(1, 2.0), (2, 1.0)]),
    ],
)
def test_a_curve_stands_over_the_steps_that_were_done(fit, curve):
    """Oracle: by hand; a record holds the means of equal parts, whose last steps are the places."""
    assert view.loss_curve(replace(RECORD, fit=fit)) == curve


def test_an_identity_is_a_cell(monkeypatch):
    """Oracle: by hand: equal for equal cells, another for each field, and of letters that a service takes."""
    others = [replace(CELL, **{name: "x"}) for name in ("dataset", "method", "model", "key")]
    names = {view.identity(cell) for cell in (CELL, replace(CELL), replace(CELL, seed=4), *others)}
    assert len(names) == 6
    assert all(name.isalnum() and len(name) == 20 for name in names)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Wandb("p", mode="onlin"), ("logger.mode", "online, offline", "'onlin'")),
        (lambda: Wandb("p", table_rows=-1), ("logger.table_rows", "-1")),
        (lambda: Wandb("p", timeout_s=0), ("logger.timeout_s", "0")),
        (lambda: Lightning("lightning.pytorch.loggers.CSVLoger", {}), ("CSVLoger",)),
        (lambda: Lightning(CSV["target"], {"save_dir": "x", "nam": "y"}), ("logger.options", "'nam'", "version")),
        (lambda: Lightning(CSV["target"], {"save_dir": "{datset}"}), ("logger.options", "datset")),
    ],
    ids=["mode", "rows", "time", "class", "option", "word"],
)
def test_bad_options(make, words, one_sentence):
    """Oracle: the rule for what a user can cause: at once, in one sentence."""
    with pytest.raises(BadInput) as error:
        make()
    one_sentence(error.value, *words)


def test_a_misspelt_option_is_the_command_lines_error():
    """Oracle: Hydra's struct mode: an option that no YAML lists is never run as if it were not there."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("config", ["logger=wandb", "logger.mode=offline"]).logger.mode == "offline"
        with pytest.raises(HydraException, match="moed"):
            compose("config", ["logger=wandb", "logger.moed=offline"])


@pytest.mark.parametrize("name", ["wandb", "csv", "mlflow"])
def test_the_defaults_in_code_are_those_of_the_yaml(name, monkeypatch):
    """Oracle: the YAML: each builds, and states every option's default."""
    monkeypatch.setattr(apart, "find_spec", lambda name: True)
    node = yaml.safe_load((CONF / "logger" / f"{name}.yaml").read_text())
    tracker = build(node)
    if name == "wandb":
        assert tracker == Wandb("harmonic")
