"""A process of its own. Oracles: signals that are really sent, the process table, and what the same call gives in place."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harmonic.errors import BadInput
from harmonic.isolate import Killed, in_child


def add(first, second, *, note):
    note("adding")
    return first + second, os.getpid()


def fail(*, note):
    raise BadInput("k must be 5.")


def die(number, *, note):
    note("fit")
    note("score mle")
    os.kill(os.getpid(), number)
    time.sleep(60)


def leave(*, note):
    note("fit")
    os._exit(3)


def eat(megabytes, *, note):
    import resource

    note("fit")
    pages = int(Path("/proc/self/statm").read_text().split()[0])  # torch for CUDA alone takes more than two GiB
    limit = pages * resource.getpagesize() + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return len(bytes(megabytes << 20))


def wait(path, *, note):
    path.write_text(str(os.getpid()))
    time.sleep(600)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def soon(condition, seconds=15.0):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def test_a_result_comes_from_another_process():
    """Oracle: the sum; the other process is gone afterwards."""
    result, pid = in_child(f"{__name__}.add", 2, 3)
    assert result == 5
    assert pid != os.getpid()
    assert soon(lambda: not is_alive(pid))


def test_an_error_comes_through_as_it_is():
    """Oracle: the same call in place."""
    with pytest.raises(BadInput, match=r"^k must be 5\.$"):
        in_child(f"{__name__}.fail")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_killed_process_is_told_with_its_signal_and_last_note(number):
    """Oracle: the signal that was sent, the last note that was given; this process goes on."""
    with pytest.raises(Killed) as death:
        in_child(f"{__name__}.die", number)
    assert death.value.how == number.name
    assert death.value.last_note == "score mle"
    assert in_child(f"{__name__}.add", 1, 1)[0] == 2


def test_a_process_that_leaves_without_a_result():
    """Oracle: its exit status."""
    with pytest.raises(Killed, match="exit status 3"):
        in_child(f"{__name__}.leave")


def test_memory_that_runs_out_in_the_child():
    """Oracle: a limit on the child's address space: Python's own error, where the system gives it; this process has none."""
    assert in_child(f"{__name__}.eat", 1) == 1 << 20
    with pytest.raises(MemoryError):
        in_child(f"{__name__}.eat", 1 << 12)
    assert len(bytes(1 << 24)) == 1 << 24


def test_a_cluster_s_warning_does_not_end_the_child():
    """Oracle: the signal, sent to the child alone; it goes on."""
    assert in_child(f"{__name__}.warned", signal.SIGUSR2) == "went on"


def warned(number, *, note):
    os.kill(os.getpid(), number)
    time.sleep(0.1)
    return "went on"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_child_ends_with_its_parent(tmp_path, number):
    """Oracle: the process table, after the parent was killed, or interrupted as by Ctrl-C, which goes to both."""
    code = (
        "import signal, sys, test_isolate; from pathlib import Path\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have it ignored\n"
        "test_isolate.in_child('test_isolate.wait', Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pid")]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=here, stderr=subprocess.DEVNULL, start_new_session=True) as parent:
        assert soon(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
        child = int((tmp_path / "pid").read_text())
        assert is_alive(child)
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)
        else:
            parent.send_signal(number)
        parent.wait(timeout=60)
    assert soon(lambda: not is_alive(child))
