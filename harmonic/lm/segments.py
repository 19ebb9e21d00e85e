"""Segments to token ids: each segment is encoded on its own, so that no token straddles two of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

SENTINEL = "\n"
"""Encoded before a segment, and taken off again, where a tokenizer would put a space before a lone text."""


class SegmentEncoder:
    """Encodes lists of segments with any Hugging Face tokenizer.

    A SentencePiece tokenizer (Llama 2) prefixes a lone text with a space; there each segment is encoded behind a line
    feed whose tokens are removed, so that the ids of "a", "b" decode to "ab" everywhere.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.known: dict[str, list[int]] = {}
        self.prefix: list[int] = []
        if self.decode([*self._plain("a"), *self._plain("b")]) != "ab":
            self.prefix = self._plain(SENTINEL)

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def encode(self, segments: Iterable[str]) -> list[int]:
        """Token ids of the segments, one after the other."""
        ids: list[int] = []
        for segment in segments:
            if segment not in self.known:
                self.known[segment] = self._encode_one(segment)
            ids += self.known[segment]
        return ids

    def _encode_one(self, segment: str) -> list[int]:
        if not self.prefix or not segment:
            return self._plain(segment) if segment else []
        ids = self._plain(SENTINEL + segment)
        if ids[: len(self.prefix)] != self.prefix:
            raise ValueError(f"the tokenizer merges a line feed with {segment[:20]!r}, so segments cannot be told apart")
        return ids[len(self.prefix) :]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def decode_value(self, ids: Sequence[int]) -> str:
        """The text of ids that stand inside a row, where a SentencePiece decoder would strip a leading space."""
        return self.decode([*self.prefix, *ids]).removeprefix(SENTINEL) if self.prefix else self.decode(ids)


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (b, t) with the rows flush right, and the mask of what is a token."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], dtype=torch.long)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], dtype=torch.long)
    return ids, mask
