"""Cached stages: a folder per result, named by what can change its meaning, whole or not there at all."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DONE = "DONE"


def stage_key(stage: str, version: int, **meaning: Any) -> str:
    """The name of a stage's result: SHA-256 over the stage, its version and everything that can change its meaning."""
    plain = json.dumps({"stage": stage, "version": version, **meaning}, sort_keys=True, default=_refuse)
    return hashlib.sha256(plain.encode()).hexdigest()


def _refuse(value: Any) -> Any:
    raise TypeError(f"a stage key takes plain values, found {type(value).__name__}: {value!r}")


@dataclass(frozen=True)
class Store:
    """A folder of stage results: `<root>/<stage>/<key>/`, with the file DONE written last."""

    root: Path

    def folder(self, stage: str, key: str) -> Path:
        """Where a result lies, or would lie."""
        return self.root / stage / key[:24]

    def has(self, stage: str, key: str) -> bool:
        """Whether the result is there, whole."""
        return (self.folder(stage, key) / DONE).exists()

    def work_dir(self, stage: str, key: str) -> Path:
        """Where an unfinished stage keeps what must survive a kill."""
        return self.root / "work" / stage / key[:24]

    def put(self, stage: str, key: str, write: Callable[[Path], None]) -> Path:
        """Write a result aside, mark it done, rename it into place; its work folder goes."""
        target = self.folder(stage, key)
        aside = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        write(aside)
        (aside / DONE).touch()
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        shutil.rmtree(self.work_dir(stage, key), ignore_errors=True)
        return target


def write_atomically(path: Path, text: str) -> None:
    """A text file that is the old one or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    aside.write_text(text)
    aside.replace(path)
