"""Seeds. Oracle: repetition."""

import random

import numpy as np
import torch

from harmonic.seed import global_seed


def test_global_randomness_is_put_back():
    """Oracle: the draws with nothing between; within, draws repeat."""

    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    with global_seed(0):
        first, second = draw(), draw()
    with global_seed(7):
        draw()
        with global_seed(0):
            assert (draw(), draw()) == (first, second)
        inner = draw()
    with global_seed(7):
        draw()
        assert draw() == inner
