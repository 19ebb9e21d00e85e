"""What a run ran on: versions, commit, machine, and how many threads it may use."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harmonic.errors import BadInput

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "lightning",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "xgboost-cpu",
    "sdmetrics",
)

DATA_DIR_VARIABLE = "HARMONIC_DATA_DIR"


def describe() -> dict[str, Any]:
    """Versions of what computes, the commit of this checkout (with "+" if it was changed), and the machine."""
    import torch

    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
        "device": device(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # bfloat16 and sums depend on them
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or None,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def commit() -> str | None:
    """The commit of the checkout the package runs from, asked once: what was loaded, not what was committed since."""
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "harmonic", "baselines", "conf", "run.py")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def device() -> str:
    """The accelerator's name, else the processor's."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device_kind() -> str:
    """cuda, mps or cpu: results repeat bit for bit on the same kind."""
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def data_dir() -> str:
    """Where the folders of the published data sets are, unless told otherwise: $HARMONIC_DATA_DIR, else "data"."""
    return os.environ.get(DATA_DIR_VARIABLE) or "data"


def workers(threads: int) -> int:
    """How many processes of so many threads share this machine's cores, those of a container's share alone."""
    from joblib import cpu_count

    return max(1, cpu_count() // max(1, threads))  # a wrong number is refused by `set_threads`


def set_threads(threads: int) -> None:
    """Threads of every numerical library in this process; must come before they are imported to reach all of them, and is
    heard by torch afterwards too."""
    if not isinstance(threads, int) or threads < 1:
        raise BadInput(f"threads must be a whole number of at least 1, but is {threads!r}: correct it.")
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
