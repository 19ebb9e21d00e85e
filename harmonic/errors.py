"""The errors a user can cause, told apart from the project's own defects."""


class BadInput(ValueError):
    """Something the user can mend.

    The message is one sentence: what must hold, what was found, what to do. `run.py` prints it without a traceback.
    """


class SamplingFailed(RuntimeError):
    """A generator could not deliver the rows it was asked for; the message shows what it wrote instead."""
