"""Where and how a network runs: device, precision, compilation, processes."""

from dataclasses import dataclass
from typing import Literal

import torch

from harmonic.distributed import Strategy
from harmonic.errors import BadInput, check_at_least, check_choice

LARGE = 1_000_000_000
"""Parameters of a model that is worth compiling."""
Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"]


@dataclass(frozen=True)
class Compute:
    """Where and how a language model runs (the `trainer` group)."""

    accelerator: Accelerator = "auto"
    precision: Precision = "auto"
    """Lightning's; auto is bf16-mixed where the device computes in bfloat16, else 32-true."""
    checkpoint_minutes: float = 2.0
    """What a kill costs at most."""
    compile: bool | Literal["auto"] = "auto"
    """Whether fine-tuning compiles a model's layers; auto does on a GPU from a billion parameters on, where a minute once
    takes two fifths off every step, but not with four-bit weights."""

    strategy: Strategy = "single"
    """single: one process. Under torchrun, ddp: each process has the whole model and a share of every optimiser step's
    batches; fsdp: layers are cut among the processes too."""

    def __post_init__(self) -> None:
        check_choice("trainer.strategy", self.strategy, Strategy)
        check_choice("trainer.precision", self.precision, Precision)
        check_choice("trainer.accelerator", self.accelerator, Accelerator)
        check_at_least("trainer.checkpoint_minutes", self.checkpoint_minutes, 0)
        if self.compile not in (True, False, "auto"):
            raise BadInput(f"trainer.compile must be auto, true or false, but is {self.compile}: correct it.")

    @property
    def device(self) -> torch.device:
        """The device tensors live on."""
        if self.accelerator == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise BadInput("trainer.accelerator=gpu needs a GPU that torch can use, but there is none: use trainer=auto.")
        return torch.device("cuda" if self.accelerator == "gpu" else "cpu")

    @property
    def resolved_precision(self) -> str:
        """The Lightning precision in use."""
        if self.precision != "auto":
            return self.precision
        if self.device.type == "cuda":
            return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
        return "bf16-mixed" if self.device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "32-true"

    def compiles(self, model: torch.nn.Module) -> bool:
        """Whether this model's layers are compiled for training."""
        if self.compile != "auto":
            return bool(self.compile)
        large = sum(weight.numel() for weight in model.parameters()) >= LARGE
        return self.device.type == "cuda" and large and not getattr(model, "is_loaded_in_4bit", False)

    def autocast(self) -> torch.autocast:
        """The precision of training, for inference."""
        precision = self.resolved_precision
        dtype = torch.float16 if precision.startswith("16") else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=not precision.startswith("32"))
