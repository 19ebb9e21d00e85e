"""LoRA's adapters while rows are written: three products for each adapted projection, where PEFT takes nine kernels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def lean_adapters(model: Any, device: str) -> Iterator[None]:
    """Within, under autocast, adapted projections compute as `_lean` says; a model without any is left as it is.

    A pass that draws a token is short, so that on a GPU what counts is how many kernels it starts.
    """
    layers = [layer for layer in model.modules() if _is_plain(layer)] if torch.is_autocast_enabled(device) else []
    for layer in layers:
        layer.forward = _lean(layer, torch.get_autocast_dtype(device))
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(layer: Any) -> bool:
    """Whether a module is a linear projection under one adapter of PEFT's, in plain LoRA's form."""
    if not hasattr(layer, "lora_A") or type(getattr(layer, "base_layer", None)) is not torch.nn.Linear:
        return False
    if layer.merged or layer.disable_adapters or layer.lora_variant or any(layer.lora_bias.values()):
        return False
    return bool(layer.lora_A.keys() == {*layer.active_adapters} and len(layer.active_adapters) == 1)


def _lean(layer: Any, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """xW + (xA)B of evaluation, A and B cast once, the scale in B, the sum in the second product.

    PEFT casts x to A's float32 and back, and casts, scales and adds anew in every pass.
    """
    (name,) = layer.active_adapters
    down = layer.lora_A[name].weight.to(dtype)
    up = (layer.lora_B[name].weight * layer.scaling[name]).to(dtype).T

    def forward(x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        whole = layer.base_layer(x)
        narrow = torch.nn.functional.linear(x, down)
        return torch.addmm(whole.flatten(0, -2), narrow.flatten(0, -2), up).view_as(whole)

    return forward
