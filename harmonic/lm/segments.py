"""Segments to token ids: each segment is encoded on its own, so that no token straddles two of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from harmonic.errors import BadInput

SENTINEL = "\n"
"""Encoded before a segment, and taken off again, where a tokenizer would put a space before a lone text."""

MOST_KNOWN = 500_000
"""Segments whose tokens are kept, some 150 MB: all of a table but a large one."""


class SegmentEncoder:
    """Encodes lists of segments with any Hugging Face tokenizer.

    A SentencePiece tokenizer (Llama 2) prefixes a lone text with a space; there each segment is encoded behind a line
    feed whose tokens are removed, so that the ids of "a", "b" decode to "ab" everywhere.

    A text never becomes a special token, whatever it spells: a row's end is what the model writes, not what a cell says.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.special = set(tokenizer.all_special_ids)
        self.known: dict[str, list[int]] = {}
        self.prefix: list[int] = []
        if self.decode([*self._plain("a"), *self._plain("b")]) != "ab":
            self.prefix = self._plain(SENTINEL)

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def encode(self, segments: Iterable[str]) -> list[int]:
        """Token ids of the segments, one after the other.

        Raises:
            BadInput: the tokenizer has no tokens for a text but those of an end, a beginning or padding, or merges it with
                what stands before it. A token for the unknown passes: `Grammar.compile` knows which column it is in.
        """
        ids: list[int] = []
        for segment in segments:
            found = self.known.get(segment)
            if found is None:
                found = self._encode_one(segment)
                if len(self.known) < MOST_KNOWN:
                    self.known[segment] = found
            ids += found
        return ids

    def _encode_one(self, segment: str) -> list[int]:
        ids = self._alone(segment)
        if self._says(ids, segment):
            return ids
        spelt = [token for letter in segment for token in self._alone(letter)]  # what is normalised or special as a whole
        if self._says(spelt, segment):
            return spelt
        if not (self.special - self._unknown).isdisjoint(spelt):
            raise BadInput(f"the model's tokenizer must be able to write {_shown(segment)}, but cannot: take another model.")
        return ids

    def _alone(self, segment: str) -> list[int]:
        if not self.prefix or not segment:
            return self._plain(segment) if segment else []
        ids = self._plain(SENTINEL + segment)
        if ids[: len(self.prefix)] != self.prefix:
            raise BadInput(
                f"the model's tokenizer must tell {_shown(segment)} from a line feed before it, but merges the two: take "
                f"another model."
            )
        return ids[len(self.prefix) :]

    @property
    def _unknown(self) -> set[int]:
        tokenizer = self.tokenizer
        return {tokenizer.unk_token_id} - {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id}

    def _says(self, ids: Sequence[int], segment: str) -> bool:
        return self.special.isdisjoint(ids) and self.decode_value(ids) == segment

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def decode_value(self, ids: Sequence[int]) -> str:
        """The text of ids that stand inside a row, where a SentencePiece decoder would strip a leading space."""
        return self.decode([*self.prefix, *ids]).removeprefix(SENTINEL) if self.prefix else self.decode(ids)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (b, t) with the rows flush right, and the mask of what is a token."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], dtype=torch.long)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], dtype=torch.long)
    return ids, mask


def pad_right(rows: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    """Token ids (b, t) with the rows flush left."""
    longest = max(map(len, rows))
    return torch.tensor([list(row) + [pad] * (longest - len(row)) for row in rows], dtype=torch.long)
