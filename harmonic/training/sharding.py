"""Models whose layers are cut among the processes of a run (FSDP2), and checkpoints that any number of them reads."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from harmonic.distributed import place


def sharded(model: Any, layers: type[torch.nn.Module], device: torch.device) -> Any:
    """A copy of a model on the processes' devices, each of which holds its share of every layer and of what is around them.

    The model itself stays whole where it is. Beside its shares a device holds one whole layer at a time.

    Args:
        model: on the processor.
        layers: the class of its layers.
        device: the device of this process.
    """
    mesh = init_device_mesh(device.type, (place()[1],))
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    cut = copy.deepcopy(model, shared)  # modules are copied, weights not yet
    for layer in [module for module in cut.modules() if isinstance(module, layers)]:
        _move(layer, device)
        fully_shard(layer, mesh=mesh)
    _move(cut, device)
    fully_shard(cut, mesh=mesh)
    return cut


def _move(module: torch.nn.Module, device: torch.device) -> None:
    """Give a module weights of its own on a device, where they are not cut already; what is tied stays tied."""
    moved: dict[int, torch.nn.Parameter] = {}
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if not isinstance(weight, DTensor):
                if id(weight) not in moved:
                    copied = weight.detach().to(device, copy=True)
                    moved[id(weight)] = torch.nn.Parameter(copied, requires_grad=weight.requires_grad)
                setattr(part, name, moved[id(weight)])
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, buffer.to(device, copy=True))


def take_back(model: Any, cut: Any) -> None:
    """Give a model what its sharded copy has learnt; every process gets all of it."""
    learnt = dict(cut.named_parameters())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                weight.copy_(learnt[name].full_tensor())


class Sharding(ModelParallelStrategy):
    """Lightning's strategy for models that come cut. Checkpoints hold what is trained, whole, as those of one process do.

    Lightning's own number the optimiser's weights by all weights of the model, frozen ones too, so that one process could
    not read them, and gather the frozen ones first.
    """

    def __init__(self) -> None:
        super().__init__(data_parallel_size=place()[1], tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """By `load_optimizer_state_dict`."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The weights that are trained, whole, in every process."""
        assert self.model is not None
        return {name: _whole(weight.detach()) for name, weight in self.model.named_parameters() if weight.requires_grad}

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """As `torch.optim` numbers it, whole, in every process."""
        return dict(tree_map(_whole, optimizer.state_dict()))

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """The file, in every process."""
        return dict(torch.load(checkpoint_path, map_location="cpu", weights_only=True))

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Each process takes its share of the weights."""
        assert self.model is not None
        weights = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in checkpoint["state_dict"].items():
                weights[name].copy_(_cut(value, weights[name]))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Each process takes its share of the moments."""
        for optimizer, content in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights: Sequence[Any] = [weight for group in optimizer.param_groups for weight in group["params"]]
            moments = {
                number: {name: _cut(value, weights[number]) for name, value in values.items()}
                for number, values in content["state"].items()
            }
            optimizer.load_state_dict({**content, "state": moments})


def _whole(value: Any) -> Any:
    """A tensor that may be cut, whole and on the processor; anything else as it is."""
    if isinstance(value, DTensor):
        value = value.full_tensor()
    return value.cpu() if isinstance(value, torch.Tensor) else value


def _cut(value: Any, like: Any) -> Any:
    """A whole tensor of a weight's shape cut as the weight is; anything else, a count of steps say, as it is."""
    if not isinstance(value, torch.Tensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
