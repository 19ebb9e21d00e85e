"""Which tokens may come next inside a value: token automata of a table's columns, compiled once per fine-tuned model.

`harmonic.lm.patterns` says what a column may hold; outlines-core turns that into an automaton over the tokens of any
vocabulary, once, so that a step of sampling looks its masks up. Every way of cutting a valid text into tokens is allowed,
but each piece has one token.
Of the engines, llguidance makes its masks as it goes, a matcher for each cell (0.65 ms to make one, where a whole table's
automata take 10 to 140 ms here), and xgrammar needs triton.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers.convert_slow_tokenizer import bytes_to_unicode

from harmonic.codec import QUOTE, RowCodec
from harmonic.errors import BadInput
from harmonic.lm.patterns import value_pattern
from harmonic.lm.segments import SegmentEncoder

DONE = 0
"""The state behind the quote that ends a value."""
FAR = np.iinfo(np.int64).max // 2
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class Grammar:
    """Automata of all columns in one table of transitions; a state is a number, `DONE` that of a value that has ended."""

    def __init__(self, automata: Sequence[dict[int, dict[int, int]]]) -> None:
        """Lay automata out; each maps states to tokens to states, starts at its first key, and ends at `DONE`."""
        self.starts: list[int] = []
        """Initial state of each column."""
        self.tokens: np.ndarray
        """Allowed tokens, state by state, int64."""
        self.targets: np.ndarray
        """The state behind each of them, int64."""
        rows: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for automaton in automata:
            numbers = {DONE: DONE, **{state: len(rows) + place for place, state in enumerate(automaton)}}
            self.starts.append(len(rows))
            for edges in automaton.values():
                tokens = np.array(sorted(edges), dtype=np.int64)
                rows.append((tokens, np.array([numbers[edges[token]] for token in tokens.tolist()], dtype=np.int64)))
        self.bounds = np.cumsum([0, *(len(tokens) for tokens, _ in rows)])
        """Where each state's tokens begin, and where the last one's end."""
        self.tokens, self.targets = (np.concatenate([row[side] for row in rows]) for side in (0, 1))
        self.distances = self._distances()
        """Fewest tokens from each state to the end."""

    @classmethod
    def compile(cls, codec: RowCodec, encoder: SegmentEncoder, *, empty: bool = True) -> "Grammar":
        """The grammar of a codec's values, in schema order; without empty cells on demand.

        Raises:
            BadInput: a column that can hold nothing, or that the tokenizer has no tokens for.
        """
        import outlines_core

        (quote,) = encoder.encode([QUOTE])
        texts: dict[bytes, list[int]] = {QUOTE.encode(): [quote]}
        for token, text in enumerate(token_bytes(encoder.tokenizer)):
            if text and QUOTE.encode() not in text:
                texts.setdefault(text, []).append(token)
        texts = {text: _usual(text, tokens, encoder) for text, tokens in texts.items()}
        vocabulary = outlines_core.Vocabulary(len(encoder.tokenizer), texts)
        patterns = [value_pattern(codec, column, empty=empty) for column in codec.schema.columns]
        automata = [_automaton(pattern, vocabulary, quote) for pattern in patterns]
        grammar = cls(automata)
        for column, start in zip(codec.schema.columns, grammar.starts, strict=True):
            texts_of = map(codec.escape, column.categories)
            lacking = [repr(text) for text in texts_of if encoder.decode_value(encoder.encode([text])) != text]
            if lacking or grammar.distances[start] >= FAR:
                what = lacking[0] if lacking else "any value"
                raise BadInput(f"the model's tokenizer cannot write {what} of column {column.name!r}: choose another model.")
        return grammar

    def path(self, state: int, tokens: Sequence[int]) -> list[int] | None:
        """The state before each of these tokens, if they lead from a state to the end."""
        states = []
        for token in tokens:
            states.append(state)
            allowed = self.tokens[self.bounds[state] : self.bounds[state + 1]]
            place = int(np.searchsorted(allowed, token))
            if place == len(allowed) or allowed[place] != token:
                return None
            state = int(self.targets[self.bounds[state] + place])
        return states if state == DONE else None

    def only(self, state: int) -> tuple[int, int] | None:
        """The token that must come next and the state behind it; None where there is a choice, or no more to come."""
        start, stop = self.bounds[state : state + 2]
        return (int(self.tokens[start]), int(self.targets[start])) if stop - start == 1 else None

    def restrict(self, logits: torch.Tensor, states: np.ndarray, left: np.ndarray) -> torch.Tensor:
        """Logits (b, v) with -inf for every token that may not come next.

        Args:
            logits: float32, shape (b, v).
            states: int64, shape (b,): of each row; none has ended.
            left: int64, shape (b,): tokens a value may still take; one that leads too far from the end is left out, unless
                none is near enough.
        """
        counts = self.bounds[states + 1] - self.bounds[states]
        rows = np.repeat(np.arange(len(states)), counts)
        edges = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + self.bounds[states][rows]
        budget = np.maximum(left - 1, self.distances[states] - 1)
        near = self.distances[self.targets[edges]] <= budget[rows]
        chosen = tuple(torch.from_numpy(side[near]).to(logits.device) for side in (rows, self.tokens[edges]))
        restricted = torch.full_like(logits, -torch.inf)
        restricted[chosen] = logits[chosen]
        return restricted

    def advance(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The states behind these tokens, which `restrict` let through; int64, shape (b,)."""
        keys = self._keys
        places = np.searchsorted(keys, states * self._width + tokens)
        assert (keys[places] == states * self._width + tokens).all(), "a token that the grammar does not allow"
        return np.asarray(self.targets[places])

    @cached_property
    def _width(self) -> int:
        return int(self.tokens.max()) + 1

    @cached_property
    def _keys(self) -> np.ndarray:
        """State and token of each transition as one number, ascending."""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds)) * self._width + self.tokens

    def _distances(self) -> np.ndarray:
        distances = np.full(len(self.bounds) - 1, FAR)
        distances[DONE] = 0
        owners = np.repeat(np.arange(len(distances)), np.diff(self.bounds))
        while True:
            nearer = distances.copy()
            np.minimum.at(nearer, owners, np.minimum(distances[self.targets] + 1, FAR))
            if (nearer == distances).all():
                return distances
            distances = nearer


def _usual(text: bytes, tokens: list[int], encoder: SegmentEncoder) -> list[int]:
    """Of several tokens with one text, such as a letter and its byte, the one that the tokenizer writes it with."""
    try:
        written = encoder.encode([text.decode()]) if len(tokens) > 1 else []
    except (UnicodeDecodeError, BadInput):  # no text of its own
        return tokens
    return written if len(written) == 1 and written[0] in tokens else tokens


def _automaton(pattern: str, vocabulary: Any, quote: int) -> dict[int, dict[int, int]]:
    """States, the initial one first, to tokens to states; a value's quote leads to `DONE`.

    The quote is a part of the expression, so that nothing goes on behind a final state: outlines-core 0.2.14 loses what goes
    on there by a single byte ("yes" and "yes, mostly"). One stands in front of it too, since the automaton is first made for
    a text that may begin anywhere: digits can be a number's beginning again and again, in exponentially many ways, and a
    quote only once. The value begins behind it.
    """
    import outlines_core

    try:
        index = outlines_core.Index(QUOTE + pattern + QUOTE, vocabulary)
    except ValueError:  # no token begins any of its texts
        return {1: {}}
    final, before = set(index.get_final_states()), index.get_initial_state()
    found = index.get_transitions()
    initial = found[before][quote]
    return {
        state + 1: {token: DONE if target in final else target + 1 for token, target in found.get(state, {}).items()}
        for state in (initial, *(state for state in found if state not in (before, initial) and state not in final))
    }


def token_bytes(tokenizer: Any) -> list[bytes]:
    """What each token stands for inside a text; empty for special tokens. Byte-level BPE and SentencePiece are understood.

    Raises:
        BadInput: the tokenizer is of another kind.
    """
    decoder = tokenizer.backend_tokenizer.decoder
    kind = type(decoder).__name__ if decoder is not None else "none"
    plain = str(decoder)
    added = tokenizer.added_tokens_decoder
    special = set(tokenizer.all_special_ids)
    byte_level = "ByteLevel" in plain
    if not byte_level and "▁" not in plain:
        raise BadInput(f"the sampler reads byte-level and SentencePiece tokenizers, but the model's is of the kind {kind}.")
    alphabet = {letter: byte for byte, letter in bytes_to_unicode().items()}
    texts = []
    for number in range(len(tokenizer)):
        token = tokenizer.convert_ids_to_tokens(number)
        if token is None or number in special or (number in added and added[number].special):
            texts.append(b"")
        elif number in added:
            texts.append(added[number].content.encode())
        elif byte_level:
            texts.append(bytes(alphabet[letter] for letter in token))
        elif match := _BYTE_TOKEN.fullmatch(token):
            texts.append(bytes([int(match[1], 16)]))
        else:
            texts.append(token.replace("▁", " ").encode())
    return texts
