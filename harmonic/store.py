"""Cached stages: a folder per result, named by what can change its meaning, whole or not there at all."""

import errno
import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from harmonic.errors import BadInput

log = logging.getLogger(__name__)

DONE = "DONE"
ASIDE = ".tmp"
LEASE_S = 60.0
"""After how long without a sign of life a claim is taken over on a file system without locks."""
_WAIT_S = 0.2


def stage_key(stage: str, version: int, **meaning: Any) -> str:
    """The name of a stage's result: SHA-256 over the stage, its version and everything that can change its meaning."""
    plain = json.dumps({"stage": stage, "version": version, **meaning}, sort_keys=True, default=_refuse)
    return hashlib.sha256(plain.encode()).hexdigest()


def _refuse(value: Any) -> Any:
    raise TypeError(f"a stage key takes plain values, found {type(value).__name__}: {value!r}")


@dataclass(frozen=True)
class Store:
    """A folder of stage results: `<root>/<stage>/<key>/`, with the file DONE, which says the others' sizes, written last.

    Beside them `work/` keeps what unfinished stages need after a kill, `log/` what each stage took (`harmonic.costs`), and
    `claims/` who makes what.
    """

    root: Path

    def folder(self, stage: str, key: str) -> Path:
        """Where a result lies, or would lie."""
        return self.root / stage / key[:24]

    def has(self, stage: str, key: str) -> bool:
        """Whether the result is there, whole: one that a file is missing from, or whose files have other sizes, is none."""
        folder = self.folder(stage, key)
        if not (folder / DONE).exists():
            return False
        for name, size in _sizes(folder / DONE).items():
            file = folder / name
            if not file.exists() or file.stat().st_size != size:
                log.warning("%s %s is damaged in %s, and is made again", stage, key[:8], name)
                return False
        return True

    def work_dir(self, stage: str, key: str) -> Path:
        """Where an unfinished stage keeps what must survive a kill."""
        return self.root / "work" / stage / key[:24]

    def log_file(self, stage: str, key: str) -> Path:
        """What a stage took, line by line."""
        return self.root / "log" / stage / f"{key[:24]}.jsonl"

    @contextmanager
    def claimed(self, stage: str, key: str) -> Iterator[None]:
        """The sole right to make a result, so that cells that share it make it once; waits for whoever has it.

        The kernel holds the claim and lets go of it when its process ends, however it ends. File systems that know no locks
        (some cluster ones) get a lease that its holder renews; `LEASE_S` after the last renewal it is taken over. Should
        a file system keep its locks to one machine, two machines make the same result, and the second replaces the first.
        """
        path = self.root / "claims" / stage / key[:24]
        path.parent.mkdir(parents=True, exist_ok=True)
        claim: BaseFileLock = FileLock(path, fallback_to_soft=False)
        try:
            claim = _acquired(claim, stage, key)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            claim = _acquired(SoftFileLease(path.with_suffix(".lease"), lease_duration=LEASE_S), stage, key)
        try:
            yield
        finally:
            claim.release()

    def put(self, stage: str, key: str, write: Callable[[Path], None]) -> Path:
        """Write a result aside, mark it done, rename it into place; its work folder goes.

        Who calls it has the claim, so what else lies aside was left by a process of this machine that was killed, and goes
        too; another machine's is left alone, in case locks do not reach that far.
        """
        target = self.folder(stage, key)
        for left in _left_aside(target):
            shutil.rmtree(left, ignore_errors=True)
        aside = _aside(target)
        aside.mkdir(parents=True)
        try:
            write(aside)
            files = [path for path in sorted(aside.rglob("*")) if path.is_file()]
            (aside / DONE).write_text(json.dumps({str(path.relative_to(aside)): path.stat().st_size for path in files}))
            _flush(aside)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        shutil.rmtree(self.work_dir(stage, key), ignore_errors=True)
        return target


def _sizes(done: Path) -> dict[str, int]:
    """Bytes of each file of a result, as it was made."""
    try:
        sizes: dict[str, int] = json.loads(done.read_text())
    except ValueError:  # of an older version, which said nothing
        return {}
    return sizes


def _acquired(claim: BaseFileLock, stage: str, key: str) -> BaseFileLock:
    try:
        claim.acquire(timeout=0)
    except Timeout:
        log.info("%s %s is in another process's hands: waiting for it", stage, key[:8])
        claim.acquire(poll_interval=_WAIT_S)
    return claim


def _aside(path: Path) -> Path:
    """A name beside `path` that no other process takes, on this machine or another."""
    return path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}{ASIDE}")


def _left_aside(path: Path) -> list[Path]:
    """What processes of this machine have begun to write for `path` and not renamed."""
    return list(path.parent.glob(f"{escape(f'{path.name}.{platform.node()}-')}*{ASIDE}"))


def _flush(folder: Path) -> None:
    """Hand a folder's files to the disk, so that a machine that goes down cannot leave a name without its content."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """A text file that is the old one or the new one, never half of either; one process of a machine writes it at a time."""
    _replace(path, lambda aside: aside.write_text(text))


def copy_atomically(source: Path, path: Path) -> None:
    """A copy that is whole, or the file that was there before; one process of a machine makes it at a time."""
    _replace(path, lambda aside: shutil.copyfile(source, aside))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _left_aside(path):  # by a process that was killed
        left.unlink(missing_ok=True)
    aside = _aside(path)
    try:
        write(aside)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def check_writable(option: str, folder: Path) -> None:
    """Raise BadInput unless files can be written into a folder, or it can be made; nothing is."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise BadInput(
            f"{option}={folder} must be a folder that can be written, but {error.strerror or error}: correct its "
            f"permissions, free some space, or give another one."
        ) from None
