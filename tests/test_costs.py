"""What a stage took. Oracles: the clock, the size of what was allocated, and logs written by hand or cut by a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from harmonic import costs
from harmonic.costs import measured, read_log


def lines(*events, seconds=1.0):
    facts = {"peak_memory_mb": 10.0, "peak_gpu_memory_mb": None, "device": "hand"}
    return "".join(json.dumps({"event": event, "seconds": seconds, **facts}) + "\n" for event in events)


def test_seconds_and_memory_are_those_of_the_stage(tmp_path):
    """Oracle: a sleep and an array of known size; a second stage of the same process doesn't inherit the first's peak."""
    with measured(tmp_path / "log.jsonl") as first:
        big = np.ones(150 << 17)  # 150 MB
        time.sleep(0.2)
    del big
    with measured(tmp_path / "other.jsonl") as second:
        pass
    assert 0.2 <= first.seconds < 2
    assert first.stretches == second.stretches == 1
    assert first.peak_memory_mb > second.peak_memory_mb + 100
    assert first.device
    assert [line["event"] for line in read_log(tmp_path / "log.jsonl")] == ["begin", "done"]


@pytest.mark.parametrize(
    ("log", "stretches", "seconds"),
    [
        ("", 1, 0),
        (lines("begin", "beat"), 2, 1),
        (lines("begin", "beat") + lines("begin", "beat", "failed", seconds=3.0), 3, 4),
        (lines("begin", "beat", "done"), 1, 0),
        (lines("begin", "done") + lines("begin", seconds=2.0), 2, 2),
        (lines("begin", "beat") + '{"event": "be', 2, 1),
        ('{"event": "be', 1, 0),
    ],
    ids=["first", "killed", "killed and failed", "done before", "done, deleted, killed", "line cut", "only a cut line"],
)
def test_earlier_stretches_count_until_the_stage_was_done(tmp_path, log, stretches, seconds):
    """Oracle: by hand: the last line of each stretch, those before the last "done" left out."""
    path = tmp_path / "log.jsonl"
    path.write_text(log)
    with measured(path) as cost:
        pass
    assert cost.stretches == stretches
    assert cost.seconds == pytest.approx(seconds, abs=0.5)
    assert [line["event"] for line in read_log(path)][-2:] == ["begin", "done"]


def test_a_kill_leaves_all_but_the_last_beat(tmp_path):
    """Oracle: a process that is killed by SIGKILL in its stage, and the clock."""
    code = (
        "import sys, time; from pathlib import Path; from harmonic import costs; costs.BEAT_S = .05\n"
        "with costs.measured(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    with measured(tmp_path / "log") as cost:
        pass
    assert cost.stretches == 2
    assert 0.2 < cost.seconds < 5
    assert {line["process"] for line in read_log(tmp_path / "log")} == {process.pid, os.getpid()}


def test_a_failure_is_measured_and_comes_through(tmp_path):
    """Oracle: the exception, and the log's last word."""
    with pytest.raises(ZeroDivisionError), measured(tmp_path / "log"):
        raise ZeroDivisionError
    assert [line["event"] for line in read_log(tmp_path / "log")] == ["begin", "failed"]


def test_a_log_that_cannot_be_written_costs_nothing_else(tmp_path, monkeypatch):
    """Oracle: the cost is there all the same; a file stands where the log's folder should be."""
    (tmp_path / "log").touch()
    monkeypatch.setattr(costs, "BEAT_S", 0.01)
    with measured(tmp_path / "log" / "fit.jsonl") as cost:
        time.sleep(0.05)
    assert cost.seconds >= 0.05
