"""Texts that a model writes on token by token, each row from random numbers of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessorList

from harmonic.errors import SamplingFailed
from harmonic.lm.reader import Reader


def continue_texts(
    model: Any,
    texts: Sequence[Sequence[int]],
    *,
    warpers: LogitsProcessorList,
    streams: Sequence[np.random.Generator],
    most: int,
    end: int,
    pad: int,
    device: torch.device,
) -> list[list[int]]:
    """What the model writes behind each text: tokens up to `end`, which is the last where it came in time.

    What the sampler does under masks without the masks: a text's tokens depend on it and its stream, not on the others.

    Args:
        model: a causal language model, in evaluation mode, on the device.
        texts: token ids, at least one each.
        warpers: temperature and the like, see `draw_tokens`.
        streams: of each text, one number a token.
        most: tokens to write behind a text, at most.
        end: the id that ends a text.
        pad: the id that stands for no token.
        device: where to compute.
    """
    reader = Reader(model, len(texts), pad, device)
    written: list[list[int]] = [[] for _ in texts]
    chunks = [list(text) for text in texts]
    while open_rows := [row for row, chunk in enumerate(chunks) if chunk and len(written[row]) < most]:
        logits = reader.feed(chunks)[torch.tensor(open_rows, device=device), -1].float()
        chunks = [[] for _ in texts]
        drawn = draw_tokens(logits, warpers, [streams[row] for row in open_rows])
        for row, token in zip(open_rows, drawn.tolist(), strict=True):
            written[row].append(token)
            chunks[row] = [] if token == end else [token]
    return written


def draw_tokens(scores: torch.Tensor, warpers: LogitsProcessorList, streams: Sequence[np.random.Generator]) -> np.ndarray:
    """A token for each row of scores (b, v), drawn by inversion from the row's next random number; int64, shape (b,).

    Raises:
        SamplingFailed: a row's scores are no numbers.
    """
    chances = warpers(None, scores).softmax(-1).double().cumsum(-1)
    uniform = np.array([1 - stream.random() for stream in streams])
    wanted = torch.from_numpy(uniform).to(chances.device) * chances[:, -1]
    drawn = np.asarray(torch.searchsorted(chances, wanted[:, None])[:, 0].cpu().numpy())
    if drawn.max() == scores.shape[-1]:  # what is no number comes after all that is
        raise SamplingFailed(
            "the model's scores are no numbers: fine-tune at a lower rate, or set trainer.precision=32-true."
        )
    return drawn
