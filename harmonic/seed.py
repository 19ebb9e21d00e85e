"""One run seed, many independent streams."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """The seed of a stage: a 31-bit integer that depends on the run's seed and on the stage's name alone.

    A stage that draws more or less than before never shifts another stage's draws; 0 is a seed like any other.
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
