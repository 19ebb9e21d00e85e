"""A function in a process of its own: what kills that process costs one result, not the run."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

PRELOAD = ["harmonic.bench", "harmonic.method", "sklearn", "scipy.stats"]
"""Imported once, by the server that the processes are forked from: they start in milliseconds."""
_GRACE_S = 30.0
"""For a process that was interrupted to end by itself."""


class Killed(RuntimeError):
    """The process ended without a word."""

    def __init__(self, exit_code: int | None, last_note: str) -> None:
        self.exit_code, self.last_note = exit_code, last_note
        super().__init__(f"the process ended with {self.how}")

    @property
    def how(self) -> str:
        """The signal's name, or the exit status."""
        if self.exit_code is not None and self.exit_code < 0:
            return signal.Signals(-self.exit_code).name
        return f"exit status {self.exit_code}"


def in_child(function: str, *arguments: Any) -> Any:
    """`function(*arguments, note=…)` in a process of its own; this one need not import what it needs.

    Args:
        function: its name, as in "harmonic.bench.run_cell"; what it gives to `note` tells how far it came.
        arguments: of the function; they are pickled, and so is the result.

    Returns:
        What the function returns.

    Raises:
        Killed: the process ended without a result, as when the kernel ends it for want of memory.
        Exception: whatever the function raised.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    context.set_forkserver_preload(PRELOAD)
    here, there = context.Pipe()
    child = context.Process(target=_serve, args=(there, logging.getLogger().level, function, arguments))
    child.start()
    there.close()
    note = ""
    try:
        while True:
            kind, content = here.recv()
            if kind == "result":
                return content
            if kind == "error":
                raise content
            note = content
    except (EOFError, ConnectionResetError):
        child.join()
        if child.exitcode == -signal.SIGINT:
            raise KeyboardInterrupt from None
        raise Killed(child.exitcode, note) from None
    finally:
        child.join(_GRACE_S)
        here.close()
        child.kill()


def _serve(there: Any, level: int, function: str, arguments: tuple[Any, ...]) -> None:
    """The process's whole life."""
    threading.Thread(target=_end_with, args=(there,), daemon=True).start()
    for name in ("SIGUSR1", "SIGUSR2"):  # a cluster's warning goes to every process of a job; the parent answers it
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    logging.basicConfig(level=level, stream=sys.stdout, format="%(message)s")
    module, _, name = function.rpartition(".")
    try:
        call = getattr(import_module(module), name)
        there.send(("result", call(*arguments, note=lambda text: there.send(("note", text)))))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except Exception as error:
        there.send(("error", error))


def _end_with(there: Any) -> None:
    """End this process when the other end of its pipe closes: nobody works on for nobody."""
    with suppress(OSError):
        there.poll(None)
    os._exit(1)


@cache
def end_with_parent() -> None:
    """In a worker process of joblib: end it as soon as the run that started it is gone. Elsewhere nothing."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == parent.pid:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
