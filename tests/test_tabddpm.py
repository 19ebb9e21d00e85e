"""The diffusions of TabDDPM. Oracles: Bayes' rule by hand, and the schedule at its ends."""

import numpy as np
import torch

from baselines.tabddpm import Diffusion
from baselines.tabddpm import Recipe as DiffusionRecipe


def test_the_posterior_of_a_category_is_bayes(mixed_table):
    """Oracle: Bayes' rule summed by hand over the code before the step."""
    network = Diffusion(DiffusionRecipe((8,), steps=1, timesteps=6), numbers=1, sizes=[4], classes=2, steps=1, seed=0)
    start = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    for step in range(6):
        alpha = float(network.alpha[step])
        before = float(network.retained[step - 1]) if step else 1.0
        for noised in range(4):
            earlier = before * start[0].numpy() + (1 - before) / 4
            joint = earlier * (alpha * (np.arange(4) == noised) + (1 - alpha) / 4)
            found = network._posterior(start.log(), torch.tensor([noised]), torch.tensor([step]), 4).exp()[0]
            np.testing.assert_allclose(found, joint / joint.sum(), atol=1e-5)


def test_the_schedule_forgets_everything():
    """Oracle: the cosine of Nichol and Dhariwal at its ends."""
    network = Diffusion(DiffusionRecipe((8,), steps=1), numbers=1, sizes=[2], classes=2, steps=1, seed=0)
    kept = network.retained.numpy()
    assert (np.diff(kept) < 0).all()
    assert kept[0] > 0.99
    assert kept[-1] < 1e-3
    np.testing.assert_allclose(np.cumprod(network.alpha.numpy()), kept, rtol=1e-4)
