"""What the baselines with networks of our own share: batches drawn by number, a seeded Lightning run, weights on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harmonic.seed import derive_seed, global_seed
from harmonic.training import Compute, Resumable, Run, train

WEIGHTS = "model.safetensors"


def drawn_batches(table: Sequence[Tensor], batch_size: int, seed: int) -> Callable[[int], list[Tensor]]:
    """Any batch of a table's rows: each epoch is a permutation, cut into whole batches; its rest is left out."""
    rows = len(table[0])
    size = min(batch_size, rows)
    per_epoch = rows // size
    kept: dict[int, np.ndarray] = {}

    def batch(number: int) -> list[Tensor]:
        epoch, place = divmod(number, per_epoch)
        if epoch not in kept:
            kept.clear()
            kept[epoch] = np.random.default_rng(derive_seed(seed, "epoch", epoch)).permutation(rows)
        chosen = torch.from_numpy(kept[epoch][place * size : (place + 1) * size])
        return [part[chosen] for part in table]

    return batch


def train_network(
    make: Callable[[], Resumable],
    batch: Callable[[int], Any],
    steps: int,
    compute: Compute,
    *,
    what: str,
    seed: int,
    work_dir: Path | None,
    max_minutes: float | None,
) -> tuple[Any, Run]:
    """A network made and trained for `steps` batches, whatever the global random state, which is left as it was.

    Args:
        make: builds the network; its weights depend on `seed` alone.
        batch: number to batch.
        steps: how many.
        compute: device, precision, checkpoints.
        what: the bar's name.
        seed: of weights and noise.
        work_dir: see `harmonic.training.train`.
        max_minutes: see `harmonic.training.train`.
    """
    with global_seed(seed):
        network = make()
        run = train(network, batch, [1] * steps, compute, what=what, unit="step", work_dir=work_dir, max_minutes=max_minutes)
    return network, run


def save_weights(network: torch.nn.Module, folder: Path, name: str = WEIGHTS) -> None:
    """Write the weights as safetensors."""
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / name)


def load_weights(network: Any, folder: Path, name: str = WEIGHTS) -> Any:
    """The network with the weights that `save_weights` wrote."""
    network.load_state_dict(load_file(folder / name))
    return network.eval()
