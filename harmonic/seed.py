"""One run seed, many independent streams."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """The seed of a stage: a 31-bit integer that depends on the run's seed and on the stage's name alone.

    A stage that draws more or less than before never shifts another stage's draws; 0 is a seed like any other.
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """For libraries that draw from global randomness: Python's, NumPy's and torch's, seeded within and put back after."""
    import torch

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
