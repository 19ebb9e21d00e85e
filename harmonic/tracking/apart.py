"""A tracker at work in a process of its own, which is ended when its time is up.

Whatever the tracker's package does, hang, print, ask or crash, the run goes on. After a first failure the tracker is off for
the rest of the process; the same command, run again, shows its cached cells again.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harmonic.build import TARGET
from harmonic.record import Record, dumps

log = logging.getLogger(__name__)

_off: set[str] = set()
"""Names of the trackers that failed in this process."""

_shown: set[str] = set()
"""Digests of what this process has shown: the cells of a sweep share their references."""


def check_installed(name: str, package: str) -> None:
    """Say at once, not after the first cell, that a tracker will do nothing."""
    if find_spec(package) is None:
        _give_up(name, f"the package {package} is not installed")


def show(name: str, tracker: Any, record: Record, synthetic: Path | None) -> None:
    """`tracker.send(record, synthetic)` elsewhere, unless the tracker is off or has this very record; never raises.

    Args:
        name: the tracker's, in its warning.
        tracker: a dataclass whose fields are the options of its constructor, `timeout_s` among them.
        record: what is shown.
        synthetic: the record's table, if there is one.
    """
    if name in _off:
        return
    try:
        job = _job(tracker, record, synthetic)
        mark = hashlib.sha256(job.encode()).hexdigest()
        if mark in _shown:
            return
        reason = _run(job, tracker.timeout_s)
    except Exception as error:
        reason = one_line(error)
    if reason:
        _give_up(name, reason)
    else:
        _shown.add(mark)


def _job(tracker: Any, record: Record, synthetic: Path | None) -> str:
    """What the other process is told."""
    node = {TARGET: f"{type(tracker).__module__}.{type(tracker).__name__}", **asdict(tracker)}
    rows = str(synthetic.absolute()) if synthetic is not None and synthetic.exists() else None
    return json.dumps({"tracker": node, "record": dumps(record), "synthetic": rows})


def _give_up(name: str, reason: str) -> None:
    """The one warning."""
    if name not in _off:
        _off.add(name)
        log.warning("%s did not take the record (%s); it is off for this run; records are safe in their files", name, reason)


def _run(job: str, timeout_s: float) -> str:
    """Why the job was not done in its time; empty if it was.

    Its standard input is no terminal, so that nothing can ask for a key. Its answer goes into a file, because a pipe would
    wait for whatever processes it leaves behind.
    """
    root = str(Path(__file__).parent.parent.parent)
    paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH")) if path)
    environment = {"WANDB_ERROR_REPORTING": "false", **os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-P", "-m", "harmonic.tracking"]
    with tempfile.TemporaryFile() as answer:
        try:
            done = subprocess.run(
                command,
                input=job.encode(),
                stdout=answer,
                stderr=subprocess.DEVNULL,
                timeout=timeout_s,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"no end after {timeout_s:g} s"
        answer.seek(0)
        said = answer.read().decode(errors="replace").strip()
    return said or ("" if done.returncode == 0 else f"its process ended with status {done.returncode}")


def one_line(error: Exception, longest: int = 300) -> str:
    """An error's type and message without line breaks."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= longest else f"{text[:longest]}…"
