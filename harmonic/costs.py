"""What a stage takes: seconds, memory and device, written down while it runs, so that a kill loses none of it."""

import json
import os
import platform
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harmonic import env

BEAT_S = 5.0
"""Between two lines of a running stage: what a kill makes uncertain of its seconds."""


@dataclass
class Cost:
    """Of a stage, all its stretches together; filled when the last one ends."""

    seconds: float = 0.0
    """Of the wall clock. A stage that was killed and taken up again counts every stretch, also what had to be redone."""
    stretches: int = 0
    """How often it was begun: 1 unless something ended it before it was done."""
    peak_memory_mb: float = 0.0
    """Largest resident size of the process during the stage, in megabytes of 2^20 bytes."""
    peak_gpu_memory_mb: float | None = None
    """Most that torch held on the GPU at once; None without one."""
    device: str = ""

    def named(self, stage: str) -> dict[str, Any]:
        """For the record, where stages stand side by side."""
        costs = {
            f"time_{stage}_s": self.seconds,
            f"stretches_{stage}": self.stretches,
            f"peak_memory_{stage}_mb": self.peak_memory_mb,
            f"peak_gpu_memory_{stage}_mb": self.peak_gpu_memory_mb,
            f"device_{stage}": self.device,
        }
        return {name: value for name, value in costs.items() if value is not None}


@contextmanager
def measured(log_file: Path) -> Iterator[Cost]:
    """Measure what is done within, and write it to a log as it goes: lines begin, beat …, and done or failed.

    Each line is JSON with the time (UTC), machine, process, device, seconds of this stretch and peak memory so far. A
    stretch that was killed ends with its last beat. A log that cannot be written costs nothing but itself.

    Args:
        log_file: of the stage; earlier stretches in it count, those before its last "done" do not.

    Yields:
        The cost, to be read behind the block.
    """
    cost, stretches = Cost(), _stretches(log_file)
    stretch = _Stretch(log_file)
    stretch.write("begin")
    stop = threading.Event()
    beating = threading.Thread(target=stretch.beat, args=(stop,), daemon=True)
    beating.start()
    outcome = "failed"
    try:
        yield cost
        outcome = "done"
    finally:
        stop.set()
        beating.join()
        stretches.append(stretch.write(outcome))
    _sum_up(stretches, cost)


@dataclass
class _Stretch:
    """From where a process begins a stage to where it ends."""

    log_file: Path
    device: str = field(default_factory=env.device)
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        _forget_peak()

    def beat(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT_S):
            self.write("beat")

    def write(self, event: str) -> dict[str, Any]:
        """Append a line and return what it says; a new one begins the stretch, whatever a kill left of the last."""
        facts = {
            "event": event,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.node(),
            "process": os.getpid(),
            "device": self.device,
            "seconds": time.perf_counter() - self.started,
            "peak_memory_mb": _peak_memory_mb(),
            "peak_gpu_memory_mb": _peak_gpu_memory_mb(),
        }
        with suppress(OSError):
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            with self.log_file.open("a") as file:
                file.write(("\n" if event == "begin" else "") + json.dumps(facts) + "\n")
        return facts


def read_log(log_file: Path) -> list[dict[str, Any]]:
    """The lines of a stage's log, none without one; a line that a kill cut short is left out."""
    lines = []
    with suppress(OSError):
        for line in log_file.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
    return lines


def _stretches(log_file: Path) -> list[dict[str, Any]]:
    """The last line of each stretch since the stage was last done."""
    stretches: list[dict[str, Any]] = []
    for line in read_log(log_file):
        if line["event"] == "begin" or not stretches:
            stretches.append(line)
        stretches[-1] = line
        if line["event"] == "done":
            stretches.clear()
    return stretches


def _sum_up(stretches: list[dict[str, Any]], cost: Cost) -> None:
    cost.seconds = sum(line["seconds"] for line in stretches)
    cost.stretches = len(stretches)
    cost.peak_memory_mb = max(line["peak_memory_mb"] for line in stretches)
    on_gpu = [line["peak_gpu_memory_mb"] for line in stretches if line["peak_gpu_memory_mb"] is not None]
    cost.peak_gpu_memory_mb = max(on_gpu, default=None)
    cost.device = stretches[-1]["device"]


def _forget_peak() -> None:
    """Let the peaks start from here, where the system allows it (Linux; elsewhere they are those of the process)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_memory_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _peak_gpu_memory_mb() -> float | None:
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
