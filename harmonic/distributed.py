"""Several processes at one run, as torchrun starts them: who they are, how they agree, and what each of them has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from harmonic.errors import BadInput

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Strategy = Literal["single", "ddp", "fsdp"]
LAUNCH = "torchrun --nproc-per-node=2 run.py"


def launched() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def leads() -> bool:
    """Whether this process is the one that writes, logs and scores: the first, or the only one."""
    return launched() == 1 or os.environ["RANK"] == "0"


def check_launch(strategy: Strategy) -> None:
    """Raise BadInput where torchrun and the strategy do not go together."""
    if launched() > 1 and strategy == "single":
        raise BadInput(f"{launched()} processes need trainer=ddp or fsdp, but have single: add one, or leave torchrun.")
    if strategy != "single" and "TORCHELASTIC_RUN_ID" not in os.environ:
        raise BadInput(f"trainer={strategy} must be started by torchrun, but is not: {LAUNCH} trainer={strategy} ...")


@contextmanager
def joined(device: "torch.device") -> Iterator[None]:
    """Within, the processes that torchrun started are one group; each has a GPU of its machine where there are GPUs."""
    if launched() == 1:
        yield
        return
    import torch

    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """This process's number, and how many share the work: those of torch's process group, where one is at work."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def agreed(value: T) -> T:
    """What the first process has, in all of them."""
    if place()[1] == 1:
        return value
    import torch

    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value: T) -> list[T]:
    """What each process has, in their order, in all of them."""
    processes = place()[1]
    if processes == 1:
        return [value]
    import torch

    values: list[T] = [value] * processes
    torch.distributed.all_gather_object(values, value)
    return values
