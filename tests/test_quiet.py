"""What other packages say. Oracle: what reaches the screen."""

import logging
import signal
import subprocess
import sys
import warnings

from baselines.quiet import quiet


def test_quiet(capfd, caplog):
    """Oracle: what reaches the screen: errors and stderr alone."""
    with warnings.catch_warnings(record=True) as found, quiet():
        warnings.warn("a warning", stacklevel=1)
        print("a print")
        logging.getLogger("other").warning("a line")
        logging.getLogger("other").error("an error")
    logging.getLogger("other").warning("after")
    assert not found
    assert capfd.readouterr().out == ""
    assert caplog.messages == ["an error", "after"]


def test_a_bar_s_process_that_is_interrupted_says_nothing():
    """Oracle: the screen, after the signal that ends a cell's process at Ctrl-C."""
    code = (
        "import multiprocessing, os, signal; from harmonic.training.callbacks import progress_bar\n"
        "multiprocessing.set_start_method('spawn')  # as in such a process\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL); bar = progress_bar('writing', 3); bar.update(); bar.clear()\n"
        "os.kill(os.getpid(), signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGINT
    assert "writing" in done.stderr
    assert "leaked" not in done.stderr
