"""Stage results on disk. Oracles: all or nothing, and keys that differ exactly where the meaning does."""

import itertools
import os

import numpy as np
import pytest

from harmonic.store import DONE, Store, stage_key, write_atomically


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


def test_two_processes_that_write_the_same_result(tmp_path, monkeypatch):
    """Oracle: equal keys, equal results; the one that comes second neither fails nor leaves a mix of both."""
    store = Store(tmp_path)

    def write(folder):
        save("ours")(folder)
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 1)
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
