"""Faults that are put in: a disk that is full, folders that cannot be written, a process that is killed. Oracle: nothing
that is half written is taken for whole, the user reads one sentence, and the next run ends as one without the fault."""

import os
import resource
import signal
import subprocess

import pytest
from conftest import events, results, wait_for

TABDDPM = ("method=tabddpm", "+method.budget=smoke")
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]


@pytest.fixture(scope="module")
def own_mounts():
    """Skips where this user may not mount in a namespace of their own."""
    if os.system("unshare --user --map-root-user --mount true 2>/dev/null"):
        pytest.skip("this system lets no user mount in a namespace of their own: the faults of a disk are not put in")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, run):
    """What `TABDDPM` ends with where nothing is wrong."""
    folder = tmp_path_factory.mktemp("unbroken")
    status, said = run(folder, *TABDDPM)
    assert status == 0, said
    return results(folder)


def check_told(said, *words):
    """One line that holds these words, and no traceback."""
    assert "Traceback" not in said
    assert any(all(word in line for word in words) for line in said.splitlines()), said


def shell(script, folder, *commands):
    """Runs a script in a namespace of its own, in which $1, $2, … are commands; `disk` is where it mounts."""
    (folder / "disk").mkdir(parents=True)
    quoted = [" ".join(f"'{word}'" for word in command) for command in commands]
    done = subprocess.run([*NAMESPACE, script, "sh", *quoted], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [24, 96])
def test_a_full_disk(own_mounts, command, unbroken, tmp_path, kilobytes):
    """Oracle: a disk of so many kilobytes, then a larger one; the sizes break off different stages."""
    words = command(tmp_path / "disk", *TABDDPM)
    script = f"""
        exec 2>&1
        mount -t tmpfs -o size={kilobytes}k tmpfs disk
        eval "$1" || echo "status $?"
        for done in $(find disk -name DONE); do ls $(dirname $done); done
        echo "--- room"
        mount -o remount,size=64m disk
        eval "$1" && echo "status 0"
        cp -r disk/runs runs
    """
    said, _, then = shell(script, tmp_path, words).partition("--- room")
    assert "status 1" in said or "status 2" in said, said
    check_told(said, "space")
    assert "status 0" in then, then
    assert results(tmp_path) == unbroken


@pytest.mark.slow
def test_files_that_break_off(run, command, unbroken, tmp_path):
    """Oracle: a limit on the size of a file, at which every write breaks off halfway, then none."""
    folder, size = tmp_path / "limited", 20_000
    folder.mkdir()
    done = subprocess.run(
        command(folder, *TABDDPM),
        **{"cwd": folder, "capture_output": True, "text": True, "check": False},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert done.returncode in (1, 2)
    check_told(done.stdout + done.stderr, "File too large")
    assert not list(folder.rglob("synthetic.csv"))
    assert run(folder, *TABDDPM)[0] == 0
    assert results(folder) == unbroken
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(("option", "folder"), [("results_dir", "runs"), ("cache_dir", "cache")])
def test_a_folder_that_is_read_only(own_mounts, command, tmp_path, option, folder):
    """Oracle: a read-only mount; the user is told before a stage begins."""
    words = command(tmp_path / "disk", "-m", "method=smote,copy")
    script = f"""
        mkdir disk/{folder}
        mount -t tmpfs tmpfs disk/{folder}
        mount -o remount,ro disk/{folder}
        eval "$1" || echo "status $?"
    """
    said = shell(script, tmp_path, words)
    assert "status 2" in said
    check_told(said, f"{option}=", "must be a folder that can be written", "Read-only file system")
    assert events(tmp_path / "disk") == []


@pytest.mark.slow
def test_a_cell_that_is_killed_costs_itself_alone(run, start, tmp_path):
    """Oracle: SIGKILL of the cell's process, as the kernel does when memory runs out: the sweep goes on, the record says
    what happened and where, the status is not 0; the next run ends as an unbroken one."""
    own = ("-m", "method=harmonic,smote", "method.k=3", "n_samples=300", "model.training.max_steps=40")
    sweep = start(tmp_path / "killed", *own)
    wait_for(lambda: any(line["stage"] == "sample" for line in events(tmp_path / "killed")), sweep)
    os.kill(events(tmp_path / "killed", "sample")[0]["process"], signal.SIGKILL)
    assert sweep.wait(timeout=300) == 1
    said = (tmp_path / "killed" / "output").read_text()
    check_told(said, "mine/harmonic/seed0 failed in sample", "SIGKILL", "memory")
    found = results(tmp_path / "killed")
    records = {name.split("/")[1]: value for name, value in found.items() if not name.endswith(".csv")}
    assert {method: record["status"] for method, record in records.items()} == {"harmonic": "failed", "smote": "done"}
    assert records["harmonic"]["error"]["type"] == "Killed"
    for folder in ("killed", "whole"):
        assert run(tmp_path / folder, *own, "isolate=false")[0] == 0
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
