"""A sweep through a real Slurm. Oracles: an unbroken run of the basic launcher, and the modification times of what was done.

`scripts/setup_slurm.sh` makes a Slurm of this one machine; the process to kill is found on it, so a cluster's will not do.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cells import write_csv

RUN = Path(__file__).parents[2] / "run.py"
SWEEP = ("dataset=csv", "seed=0,1", "method=harmonic,copy,independent")
"""Six cells; the first and the fourth are long."""
SMALL = (
    *("references=null", "metrics=nrs", "threads=1", "n_samples=1500"),
    *("model=scratch", "trainer=cpu", "trainer.precision=32-true", "model.hidden_size=32", "model.layers=1"),
    *("model.heads=2", "model.mlp_size=64", "model.vocab_size=300", "model.training.min_steps=2"),
    "model.training.batch_size=8",
)
DEADLINE_S = 600


pytestmark = pytest.mark.slurm


def slurm(*command: str) -> str:
    """What one of Slurm's commands prints."""
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


@pytest.fixture(autouse=True, scope="module")
def cluster():
    """Skips where no Slurm has a node that takes jobs, and the accounts that submitit asks."""
    reason = "no Slurm with accounts answers `sinfo` and `sacct`: scripts/setup_slurm.sh, as root, sets one up"
    try:
        nodes = slurm("sinfo", "--noheader", "--states=idle,mixed,allocated", "--format=%n")
        slurm("sacct", "--allocations")
    except (OSError, subprocess.SubprocessError):
        pytest.skip(reason)
    if not nodes.strip():
        pytest.skip(reason)


@pytest.fixture
def sweep(tmp_path):
    """Starts `python run.py -m …` over the six cells with a launcher and folders of its own, and gives its process."""
    csv = write_csv(tmp_path / "mine.csv")
    started = []

    def start(launcher: str, folder: Path, *own: str) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        where = [f"results_dir={folder / 'runs'}", f"cache_dir={folder / 'cache'}", f"hydra.sweep.dir={folder / 'sweep'}"]
        words = [f"dataset.path={csv}", f"hydra/launcher={launcher}", *SWEEP, *SMALL, *where, *own]
        line = [sys.executable, str(RUN), "-m", *words]
        with (folder / "output").open("a") as output:
            started.append(subprocess.Popen(line, cwd=folder, stdout=output, stderr=output, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def jobs(tmp_path):
    """The name of the jobs of this test; those that are left at its end are cancelled."""
    name = f"harmonic-test-{os.getpid()}"
    yield name
    slurm("scancel", f"--name={name}")


def wait_until(found: Any, what: str) -> Any:
    """What `found()` gives, as soon as that is something."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = found()
        if answer:
            return answer
        time.sleep(0.05)
    pytest.fail(f"{what} did not come within {DEADLINE_S} seconds")


def queued(name: str) -> dict[str, str]:
    """Place in the job array to job number, of the jobs that have not ended."""
    lines = slurm("squeue", "--noheader", "--array", f"--name={name}", "--format=%K %A").splitlines()
    return dict(line.split() for line in lines)


def python_of(job: str) -> int:
    """The process of a job that submitit's own command runs in, the parent of the cell's."""
    numbers = [line.split()[0] for line in slurm("scontrol", "listpids", job).splitlines()[1:]]
    lines = {int(number): Path("/proc", number, "cmdline").read_bytes().split(b"\0") for number in numbers}
    (found,) = [number for number, line in lines.items() if line[1:4] == [b"-u", b"-m", b"submitit.core._submit"]]
    return found


def records(folder: Path) -> dict[tuple[str, int], bytes]:
    """Method and seed to the bytes of a record."""
    found = {}
    for path in (folder / "runs").rglob("record.json"):
        cell = json.loads(path.read_text())["cell"]
        found[cell["method"], cell["seed"]] = path.read_bytes()
    return found


def meaning(record: bytes) -> dict[str, Any]:
    """A record less what it cost and what computed it."""
    plain = json.loads(record)
    plain["scores"] = {name: (score["values"], score["key"]) for name, score in plain["scores"].items()}
    return {name: value for name, value in plain.items() if name not in ("costs", "env")}


def finished(folder: Path) -> dict[Path, int]:
    """Of each stage that is whole, the file that says so, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("DONE")}


def test_a_sweep_whose_node_process_was_killed_goes_on_where_it_was(sweep, jobs, tmp_path):
    """Oracle: the basic launcher's unbroken run, record by record and row by row; and what was done before the second
    command is neither done nor written again."""
    whole = tmp_path / "whole"
    assert sweep("basic", whole).wait(DEADLINE_S) == 0, (whole / "output").read_text()
    expected = records(whole)
    assert len(expected) == 6

    broken = tmp_path / "broken"
    own = (f"hydra.launcher.name={jobs}", "hydra.launcher.mem_gb=2", "hydra.launcher.array_parallelism=2")
    first = sweep("submitit_slurm", broken, *own)
    work = broken / "cache" / "work" / "sample"
    wait_until(lambda: len(list(work.rglob("tries-*.json"))) >= 2, "the first rows")
    os.kill(python_of(queued(jobs)["0"]), signal.SIGKILL)
    shards = {path: path.stat().st_mtime_ns for path in work.rglob("tries-*.json")}
    assert first.wait(DEADLINE_S) != 0
    wait_until(lambda: not queued(jobs), "the end of the other jobs")
    left = records(broken)
    assert set(left) == set(expected) - {("harmonic", 0)}, (broken / "output").read_text()
    assert not list((broken / "runs" / "mine" / "harmonic" / "scratch").glob("seed0-*/*"))
    done = finished(broken)
    assert len(shards) >= 2

    again = sweep("submitit_slurm", broken, *own)
    while again.poll() is None:
        time.sleep(0.05)
        kept = {path: path.stat().st_mtime_ns for path in shards if path.exists()}
        assert not kept or kept == shards
    assert again.returncode == 0, (broken / "output").read_text()
    assert {path: when for path, when in finished(broken).items() if path in done} == done
    assert len(finished(broken)) == len(finished(whole))
    assert {name: record for name, record in records(broken).items() if name in left} == left
    assert {name: meaning(record) for name, record in records(broken).items()} == {
        name: meaning(record) for name, record in expected.items()
    }
    tables = [{path.relative_to(f): path.read_bytes() for path in f.rglob("synthetic.csv")} for f in (whole, broken)]
    assert tables[0] == tables[1]
    assert not list(broken.rglob("*.tmp"))
