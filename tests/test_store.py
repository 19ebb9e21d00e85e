"""Stage results on disk. Oracles: all or nothing, and keys that differ exactly where the meaning does."""

import errno
import fcntl
import itertools
import os
import platform
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from harmonic import store as store_module
from harmonic.store import ASIDE, DONE, Store, check_writable, copy_atomically, stage_key, write_atomically


def save(text):
    return lambda folder: (folder / "result.txt").write_text(text)


def test_keys_differ_where_the_meaning_does():
    """Oracle: invariant: stage, version and every value count, the order they are given in does not."""
    keys = [
        stage_key("fit", 1, seed=0, method={"k": 5}),
        stage_key("sample", 1, seed=0, method={"k": 5}),
        stage_key("fit", 2, seed=0, method={"k": 5}),
        stage_key("fit", 1, seed=1, method={"k": 5}),
        stage_key("fit", 1, seed=None, method={"k": 5}),
        stage_key("fit", 1, seed=0, method={"k": 4}),
        stage_key("fit", 1, seed=0, method={"k": "5"}),
        stage_key("fit", 1, seed=0, method={"k": 5, "order": "fixed"}),
    ]
    assert all(first != second for first, second in itertools.combinations(keys, 2))
    assert stage_key("fit", 1, method={"k": 5}, seed=0) == keys[0]
    assert len(keys[0]) == 64


@pytest.mark.parametrize("value", [{1, 2}, object(), np.float64, len])
def test_a_key_takes_plain_values(value):
    """Oracle: the contract; what prints as its address would make a key that no second run finds."""
    with pytest.raises(TypeError, match="plain values"):
        stage_key("fit", 1, value=value)


def test_a_result_is_whole_or_not_there(tmp_path):
    """Oracle: the file system, seen from inside the writing and after it."""
    store = Store(tmp_path)

    def write(folder):
        assert not store.has("fit", "k" * 64)
        assert folder != store.folder("fit", "k" * 64)
        assert list(folder.iterdir()) == []
        save("one")(folder)

    folder = store.put("fit", "k" * 64, write)
    assert folder == store.folder("fit", "k" * 64)
    assert store.has("fit", "k" * 64)
    assert {path.name for path in folder.iterdir()} == {DONE, "result.txt"}
    assert not store.has("sample", "k" * 64)
    assert not store.has("fit", "j" * 64)
    assert [path.name for path in folder.parent.iterdir()] == ["k" * 24]


def test_a_result_that_lost_something_is_none(tmp_path, caplog):
    """Oracle: the bytes: a file that is shorter, longer or gone; an older result, whose DONE is empty, is believed."""
    store = Store(tmp_path)
    for damage in (lambda file: file.write_text("on"), lambda file: file.write_text("ones"), lambda file: file.unlink()):
        folder = store.put("fit", "k", save("one"))
        assert store.has("fit", "k")
        damage(folder / "result.txt")
        assert not store.has("fit", "k")
        assert "damaged in result.txt" in caplog.text
    (store.put("fit", "k", save("one")) / DONE).write_text("")
    assert store.has("fit", "k")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_writing_that_breaks_off_leaves_nothing_that_counts(tmp_path, error):
    """Oracle: the next writing, which finds no result and leaves a clean one."""
    store = Store(tmp_path)

    def write(folder):
        save("half")(folder)
        raise error

    with pytest.raises(error):
        store.put("fit", "k", write)
    assert not store.has("fit", "k")
    store.put("fit", "k", save("whole"))
    assert (store.folder("fit", "k") / "result.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["k"]


def test_a_folder_without_the_mark_does_not_count(tmp_path):
    """Oracle: the mark's definition; such a folder is replaced as a whole."""
    store = Store(tmp_path)
    store.folder("fit", "k").mkdir(parents=True)
    (store.folder("fit", "k") / "stray.txt").touch()
    assert not store.has("fit", "k")
    store.put("fit", "k", save("whole"))
    assert {path.name for path in store.folder("fit", "k").iterdir()} == {DONE, "result.txt"}


def test_the_work_folder_goes_when_the_result_is_there(tmp_path):
    """Oracle: its purpose; it has to outlive a failure, and only that."""
    store = Store(tmp_path)
    work = store.work_dir("fit", "k")
    work.mkdir(parents=True)
    (work / "last.ckpt").touch()

    def write(folder):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.put("fit", "k", write)
    assert (work / "last.ckpt").exists()
    store.put("fit", "k", save("whole"))
    assert not work.exists()


def test_two_machines_whose_claims_do_not_reach_each_other(tmp_path, monkeypatch):
    """Oracle: equal keys, equal results; the one that comes second neither fails nor leaves a mix of both."""
    store = Store(tmp_path)

    def write(folder):
        save("ours")(folder)
        with monkeypatch.context() as other:
            other.setattr(platform, "node", lambda: "elsewhere")
            store.put("fit", "k", save("theirs"))

    store.put("fit", "k", write)
    assert store.has("fit", "k")
    assert (store.folder("fit", "k") / "result.txt").read_text() in ("ours", "theirs")
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["k"]


def test_a_text_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    """Oracle: the file system, with a disk that is full halfway."""
    path = tmp_path / "a" / "b" / "record.json"
    write_atomically(path, "old ☕")
    assert path.read_text() == "old ☕"

    def full(self, text, *args, **kwargs):
        with self.open("w") as file:
            file.write(text[:2])
        raise OSError("no space left")

    with monkeypatch.context() as disk:
        disk.setattr(type(path), "write_text", full)
        with pytest.raises(OSError, match="no space"):
            write_atomically(path, "new")
    assert path.read_text() == "old ☕"
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


@pytest.mark.parametrize("name", ["record.json", "rows[1].csv"])
def test_what_a_killed_writer_left_goes_with_the_next_writing(tmp_path, name):
    """Oracle: the folder's listing; a process that SIGKILL hits halfway has no chance to tidy up."""
    path = tmp_path / name
    dying = f"""
import os, signal
from pathlib import Path
from harmonic.store import _replace
def half(aside):
    aside.write_text("ha")
    os.kill(os.getpid(), signal.SIGKILL)
_replace(Path({str(path)!r}), half)
"""
    assert subprocess.run([sys.executable, "-c", dying], check=False).returncode == -signal.SIGKILL
    (elsewhere := tmp_path / f"{name}.elsewhere-1{ASIDE}").touch()
    assert len(list(tmp_path.iterdir())) == 2
    write_atomically(path, "whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "whole", elsewhere.name: ""}


CLAIMANT = """
import sys, time
from pathlib import Path
from harmonic import store
store.LEASE_S = 1.5
if sys.argv[3] == "no locks":
    import errno, fcntl
    def refuse(*_): raise OSError(errno.ENOSYS, "no locks here")
    fcntl.flock = refuse
root = Path(sys.argv[1])
with store.Store(root).claimed("fit", "k"):
    print("mine", flush=True)
    with (root / "journal").open("a") as journal: journal.write("in\\n")
    time.sleep(float(sys.argv[2]))
    with (root / "journal").open("a") as journal: journal.write("out\\n")
"""


def claimant(root, seconds, locks):
    command = [sys.executable, "-c", CLAIMANT, str(root), str(seconds), locks]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("locks", ["locks", "no locks"])
def test_four_processes_have_a_claim_one_after_the_other(tmp_path, locks):
    """Oracle: a journal that each enters and leaves: in and out alternate; with the kernel's locks and with leases."""
    processes = [claimant(tmp_path, 0.3, locks) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert (tmp_path / "journal").read_text().split() == ["in", "out"] * 4


@pytest.mark.parametrize(("locks", "at_most_s"), [("locks", 1.0), ("no locks", 10.0)])
def test_a_claim_of_a_killed_process_is_taken_over(tmp_path, locks, at_most_s):
    """Oracle: SIGKILL while it holds the claim; the kernel's lock is free at once, a lease when it has run out."""
    with claimant(tmp_path, 600, locks) as holder:
        assert holder.stdout.readline() == "mine\n"
        waiting = claimant(tmp_path, 0, locks)
        time.sleep(1)
        assert waiting.poll() is None
        holder.send_signal(signal.SIGKILL)
        killed = time.monotonic()
    with waiting:
        assert waiting.stdout.readline() == "mine\n"
        assert time.monotonic() - killed < at_most_s


def test_who_waits_for_a_claim_says_so(tmp_path, caplog):
    """Oracle: the message, which names stage and key; none where nobody has it."""
    caplog.set_level("INFO")
    with Store(tmp_path).claimed("fit", "k" * 64):
        pass
    assert not caplog.records
    with claimant(tmp_path, 1, "locks") as holder:
        holder.stdout.readline()
        with Store(tmp_path).claimed("fit", "k"):
            pass
    assert "fit k is in another process's hands" in caplog.text


def test_other_errors_of_a_lock_come_through(tmp_path, monkeypatch):
    """Oracle: the error itself; only a file system without locks gets leases."""

    def refuse(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken"), Store(tmp_path).claimed("fit", "k"):
        pass


def test_what_a_killed_process_left_aside_goes(tmp_path):
    """Oracle: the folder after the next writing: a process that died in the middle leaves no rubbish for ever."""
    store = Store(tmp_path)
    child = os.fork()
    if not child:
        try:
            store.put("fit", "k", lambda folder: (save("half")(folder), os._exit(9)))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list((tmp_path / "fit").iterdir())) == 1
    assert not store.has("fit", "k")
    store.put("fit", "k", save("whole"))
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["k"]


def test_a_copy_is_whole_or_the_old_file(tmp_path, monkeypatch):
    """Oracle: the file system, with a copy that breaks off halfway."""
    (tmp_path / "source").write_text("new, whole")
    (tmp_path / "target").write_text("old")

    def half(source, target):
        target.write_text("new, ha")
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as disk:
        disk.setattr(store_module.shutil, "copyfile", half)
        with pytest.raises(OSError, match="no space"):
            copy_atomically(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "old"
    copy_atomically(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "new, whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_a_folder_that_cannot_be_written(tmp_path, one_sentence):
    """Oracle: the rule for what a user can cause: a file stands in the way. Looking leaves nothing behind."""
    (tmp_path / "file").touch()
    with pytest.raises(store_module.BadInput) as refused:
        check_writable("results_dir", tmp_path / "file" / "runs")
    one_sentence(refused.value, "results_dir", str(tmp_path / "file"), "Not a directory")
    (tmp_path / "there").mkdir()
    for folder in ("there", "runs", "runs/below"):
        check_writable("results_dir", tmp_path / folder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "there"]
