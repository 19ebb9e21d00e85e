"""How likely a model finds the cells of a row, given a prompt: in nats a cell, whatever the tokenizer cuts it into."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harmonic.codec import QUOTE, Segments
from harmonic.lm.grammar import DONE, FAR, Grammar
from harmonic.lm.segments import SegmentEncoder, pad_left
from harmonic.training import Compute, progress_bar

BATCH_TOKENS = 24_000
"""Tokens read at once, padding included."""


@dataclass(frozen=True)
class Scored:
    """A row to be scored."""

    prompt: Segments
    """What stands before it."""
    keys: Segments
    """What stands before each value, in the order of this row's columns."""
    values: Segments
    """The texts of its cells, in the same order."""
    columns: Sequence[int]
    """The number of the column of each."""


def cell_log_likelihoods(
    model: Any,
    encoder: SegmentEncoder,
    row: Callable[[int], Scored],
    n: int,
    compute: Compute,
    grammar: Grammar | None = None,
) -> np.ndarray:
    """Log-likelihood of each cell in nats, float64, shape (n, c), columns as in the schema whatever a row's order.

    A cell is its value and the quote that ends it, given the prompt, the cells before it and its key. Keys and prose are not
    scored: they tell nothing of the row. The value is scored as the tokenizer cuts it; a model may write it in other cuts
    too, so this is a lower bound.

    Args:
        model: a causal LM.
        encoder: its tokenizer.
        row: number to row.
        n: how many rows.
        compute: device and precision.
        grammar: score as the sampler draws, under its masks; a cell that they forbid has minus infinity.
    """
    quote = encoder.encode([QUOTE])
    rows = [Tokens.of(row(number), encoder, quote, grammar) for number in range(n)]
    return token_log_likelihoods(model, rows, encoder.tokenizer.pad_token_id, compute, grammar)


def token_log_likelihoods(
    model: Any, rows: Sequence["Tokens"], pad: int, compute: Compute, grammar: Grammar | None = None
) -> np.ndarray:
    """Log-likelihood in nats of each cell of rows that are tokens already, float64, shape (n, c).

    Args:
        model: a causal LM.
        rows: n rows.
        pad: the token that fills rows up.
        compute: device and precision.
        grammar: see `cell_log_likelihoods`.
    """
    model.eval().to(compute.device)
    n, columns = len(rows), max(int(tokens.cells.max()) for tokens in rows) + 1
    likelihoods = np.zeros((n, columns))
    by_length = np.argsort([-len(tokens.ids) for tokens in rows], kind="stable")
    done = 0
    with progress_bar("scoring", n) as bar, torch.inference_mode(), compute.autocast():
        while done < n:
            longest = len(rows[by_length[done]].ids)
            numbers = by_length[done : done + max(1, BATCH_TOKENS // longest)]
            scores = _score(model, [rows[number] for number in numbers], pad, compute.device, grammar)
            for number, score in zip(numbers, scores, strict=True):
                cells = rows[number].cells
                np.add.at(likelihoods[number], cells[cells >= 0], score[cells >= 0])
            done += len(numbers)
            bar.update(len(numbers))
    return likelihoods


def text_log_likelihoods(model: Any, texts: Sequence[list[int]], pad: int, compute: Compute) -> list[np.ndarray]:
    """Log-likelihood in nats of each token of each text but its first, which nothing precedes: float64, shape (t - 1,) each.

    Args:
        model: a causal LM.
        texts: as tokens, two or more each.
        pad: the token that fills them up.
        compute: device and precision.
    """
    rows = [Tokens(ids, np.arange(len(ids) - 1), np.full(len(ids) - 1, DONE)) for ids in texts]
    found = token_log_likelihoods(model, rows, pad, compute)
    return [nats[: len(ids) - 1] for nats, ids in zip(found, texts, strict=True)]


@dataclass(frozen=True)
class Tokens:
    """A prompt with its row."""

    ids: list[int]
    cells: np.ndarray
    """int64, shape (a,), of the last a tokens, those of the row: the cell each belongs to, -1 for a key's. The first
    token of all, which nothing precedes, is not among them."""
    states: np.ndarray
    """int64, shape (a,): under a grammar, the state before each token of a cell; `DONE` in cells that it forbids,
    and everywhere without one."""

    @property
    def forbidden(self) -> np.ndarray:
        """Tokens of cells that the grammar forbids, bool, shape (a,)."""
        return (self.cells >= 0) & (self.states == DONE)

    @classmethod
    def of(cls, row: Scored, encoder: SegmentEncoder, quote: list[int], grammar: Grammar | None) -> "Tokens":
        """A row in our own format; `quote` ends each of its values."""
        ids = encoder.encode(row.prompt)
        cells: list[int] = []
        states: list[int] = []
        for key, value, column in zip(row.keys, row.values, row.columns, strict=True):
            key_ids, value_ids = encoder.encode([key]), [*encoder.encode([value]), *quote]
            ids += key_ids + value_ids
            cells += [-1] * len(key_ids) + [column] * len(value_ids)
            path = grammar.path(grammar.starts[column], value_ids) if grammar else None
            states += [DONE] * len(key_ids) + (path or [DONE] * len(value_ids))
        return cls(ids, np.array(cells, dtype=np.int64), np.array(states, dtype=np.int64))


def _score(model: Any, rows: list[Tokens], pad: int, device: torch.device, grammar: Grammar | None) -> list[np.ndarray]:
    """Log-likelihood of each token of each row's own part."""
    ids, mask = (tensor.to(device) for tensor in pad_left([row.ids for row in rows], pad))
    longest = max(len(row.cells) for row in rows)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=longest + 1, use_cache=False)
    logits = output.logits[:, :-1].float()
    if grammar is not None:
        logits = _restricted(logits, rows, grammar)
    scores = logits.log_softmax(-1).gather(2, ids[:, -longest:, None])[..., 0].double().cpu().numpy()
    own = [score[longest - len(row.cells) :] for score, row in zip(scores, rows, strict=True)]
    if grammar is not None:
        own = [np.where(row.forbidden, -np.inf, score) for score, row in zip(own, rows, strict=True)]
    return own


def _restricted(logits: torch.Tensor, rows: list[Tokens], grammar: Grammar) -> torch.Tensor:
    """Logits (b, a, v) under the masks wherever a cell's token is drawn."""
    for number, row in enumerate(rows):
        drawn = np.flatnonzero(row.states != DONE)
        places = torch.from_numpy(logits.shape[1] - len(row.cells) + drawn).to(logits.device)
        far = np.full(len(drawn), FAR)
        logits[number, places] = grammar.restrict(logits[number, places], row.states[drawn], far)
    return logits
