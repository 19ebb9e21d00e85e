"""How a language model writes the rows of a batch: values alone under a grammar, values alone without one, or everything."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from harmonic.codec import CLOSE, QUOTE, Segments
from harmonic.dependencies import Implied
from harmonic.errors import BadInput, check_at_least, check_bool, check_choice, check_count
from harmonic.lm.adapters import lean_adapters
from harmonic.lm.continuation import continue_texts, draw_tokens
from harmonic.lm.grammar import DONE, Grammar
from harmonic.lm.reader import Reader
from harmonic.lm.segments import SegmentEncoder
from harmonic.seed import derive_seed

Form = Literal["valid", "given", "free"]

MOST_LOGITS = 128
"""Tokens of a row whose next-token probabilities are computed in one pass, at most: so many times the vocabulary is held."""
STEP_COST = {"cpu": 2.0, "cuda": 64.0}
"""What a forward pass costs before its first token, in tokens of one row."""


@dataclass(frozen=True)
class Decoding:
    """How rows are written."""

    form: Form = "valid"
    """valid: keys and punctuation are fed to the model, it writes the values, under masks that leave only what the column
    may hold; given: the same without masks; free: it writes everything, as published."""
    exact: bool = False
    """Under form=valid: keep a row with the probability that its masks left, so that the rows kept are distributed as the
    model's own valid rows; masks alone favour beginnings that seldom lead to a valid value."""
    temperature: float = 1.0
    top_k: int = 0
    """Draw among the k likeliest tokens; 0 for all."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that together have this probability."""
    batch_size: int = 128
    max_tries: float = 10.0
    """Rows written per row asked for, at most."""

    def __post_init__(self) -> None:
        check_choice("method.sampling.decoding.form", self.form, Form)
        check_count("method.sampling.decoding.top_k", self.top_k, 0)
        check_count("method.sampling.decoding.batch_size", self.batch_size, 1)
        for option, least in (("temperature", 0.01), ("top_p", 0.01), ("max_tries", 1)):
            check_at_least(f"method.sampling.decoding.{option}", getattr(self, option), least)
        check_bool("decoding.exact", self.exact)
        if self.exact and (self.form != "valid" or self.top_k or self.top_p < 1):
            raise BadInput("decoding.exact needs form=valid, top_k=0 and top_p=1: correct decoding.")

    @property
    def version(self) -> int | None:
        """Raised when other rows are written; None where they are those of the first version."""
        return 2 if self.form == "free" else None

    def warpers(self) -> LogitsProcessorList:
        """Temperature, top-k and top-p as Hugging Face defines them."""
        warpers = LogitsProcessorList([TemperatureLogitsWarper(float(self.temperature))])
        if self.top_k:
            warpers.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1:
            warpers.append(TopPLogitsWarper(self.top_p))
        return warpers


@dataclass(frozen=True)
class Prompt:
    """What the model is shown for one row."""

    text: Segments
    keys: Segments
    """What stands before each value, in the order of this row's columns."""
    columns: list[int]
    """The number of the column behind each key."""
    given: dict[int, str] = field(default_factory=dict)
    """Texts that are not drawn, by number of the column."""


@dataclass(frozen=True)
class Limits:
    """Longest texts worth waiting for, in tokens, learnt from train."""

    row: int
    value: int


@dataclass
class Written:
    """A row as the model wrote it."""

    text: str
    tokens: int
    """Tokens the model wrote, those it had no choice about too."""
    left: list[float] = field(default_factory=list)
    """Under a grammar: the probability that the masks left to each value, by number of the column; NaN to a given one."""
    luck: float = 0.0
    """The row's next uniform number, in [0, 1)."""
    read: int = 0
    """Tokens of the prompt."""


@dataclass(frozen=True)
class Writer:
    """A model with everything it needs to write rows."""

    model: Any
    encoder: SegmentEncoder
    limits: Limits
    decoding: Decoding
    device: torch.device
    seed: int
    grammar: Grammar | None = None
    """Masks of form=valid."""
    implied: Implied = field(default_factory=dict)
    """Under a grammar: values that leave others no choice."""

    def prepare(self) -> None:
        """Put the model where it is to compute."""
        self.model.eval().to(self.device)

    def write(self, prompts: Sequence[Prompt], numbers: Sequence[int]) -> list[Written]:
        """The rows of some tries; each has a stream of random numbers of its own."""
        with lean_adapters(self.model, self.device.type):
            if self.decoding.form == "free":
                return self._write_freely(prompts, numbers)
            return _Values(self, prompts, numbers).write()

    def stream(self, number: int) -> np.random.Generator:
        """The random numbers of a try."""
        return np.random.default_rng(derive_seed(self.seed, "row", number))

    def _write_freely(self, prompts: Sequence[Prompt], numbers: Sequence[int]) -> list[Written]:
        tokenizer = self.encoder.tokenizer
        answers = continue_texts(
            self.model,
            [self.encoder.encode(prompt.text) for prompt in prompts],
            warpers=self.decoding.warpers(),
            streams=[self.stream(number) for number in numbers],
            most=self.limits.row,
            end=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id,
            device=self.device,
        )
        return [Written(self.encoder.decode_value(answer), len(answer)) for answer in answers]


@dataclass(frozen=True)
class _Forced:
    """A token that was no choice, while the pass that tells its probability is still to come."""

    place: int
    """The token before it, counted in the row's pending ones."""
    token: int
    column: int


class _Values:
    """A batch of rows whose values are being written, each at its own pace.

    Every row has tokens that are settled and wait to be read: its prompt, then the token just drawn and those that must
    follow it, and behind a value a quote and the next key. A pass reads as many of each row's as is worth while; where none
    is left, the next one is drawn.
    """

    def __init__(self, writer: Writer, prompts: Sequence[Prompt], numbers: Sequence[int]) -> None:
        self.writer, self.prompts = writer, prompts
        encoder, rows = writer.encoder, len(prompts)
        (self.quote,) = encoder.encode([QUOTE])
        self.warpers = writer.decoding.warpers()
        self.streams = [writer.stream(number) for number in numbers]
        self.keys = [[encoder.encode([key]) for key in prompt.keys] for prompt in prompts]
        self.pending = [[*encoder.encode(prompt.text), *keys[0]] for prompt, keys in zip(prompts, self.keys, strict=True)]
        self.forced: list[list[_Forced]] = [[] for _ in prompts]
        self.implied: list[dict[int, str]] = [{} for _ in prompts]
        self.values: list[list[list[int]]] = [[[]] for _ in prompts]
        self.left = np.full(rows, writer.limits.value)
        self.states = np.full(rows, DONE)
        self.kept = np.full((rows, len(prompts[0].keys)), np.nan)
        """Logarithm of the probability that the masks left, by number of the column."""
        self.tokens = [0] * rows
        self.unfinished = set(range(rows))

    def write(self) -> list[Written]:
        """All rows to their ends."""
        reader = Reader(self.writer.model, len(self.prompts), self.writer.encoder.tokenizer.pad_token_id, self.writer.device)
        for row in range(len(self.prompts)):
            if not self._begin_value(row):
                self._end_value(row)
        width = max(map(len, self.pending))
        while any(self.pending):
            logits = self._read(reader, width)
            ready = np.array([row for row in sorted(self.unfinished) if not self.pending[row]], dtype=np.int64)
            if len(ready):
                for row, token in zip(ready.tolist(), self._draw(logits, ready).tolist(), strict=True):
                    self._take(row, token)
            width = self._width()
        return [self._written(row) for row in range(len(self.prompts))]

    def _read(self, reader: Reader, width: int) -> torch.Tensor:
        """Read so many of each row's settled tokens, or fewer: logits (b, v) behind the last of them."""
        width = min(width, min((token.place for tokens in self.forced for token in tokens), default=width) + MOST_LOGITS)
        chunks = [ids[:width] for ids in self.pending]
        self.pending = [ids[width:] for ids in self.pending]
        told = [(row, token) for row, tokens in enumerate(self.forced) for token in tokens if token.place < width]
        self.forced = [
            [replace(token, place=token.place - width) for token in tokens if token.place >= width] for tokens in self.forced
        ]
        ends = [token.place - len(chunks[row]) for row, token in told]
        logits = reader.feed(chunks, last=-min(ends, default=-1))
        if told:
            rows, columns = [row for row, _ in told], [token.column for _, token in told]
            scores = (logits[rows, ends].float() / self.writer.decoding.temperature).log_softmax(-1)
            tokens = torch.tensor([[token.token] for _, token in told], device=scores.device)
            np.add.at(self.kept, (rows, columns), scores.gather(1, tokens)[:, 0].double().cpu().numpy())
        return logits[:, -1]

    def _width(self) -> int:
        """Tokens to read at once: as many as bring the rows on fastest, what a pass itself costs counted in."""
        lengths = np.array([len(ids) for ids in self.pending])
        widths = np.unique(lengths.clip(min=1))
        read = np.minimum(lengths, widths[:, None]).sum(axis=1)
        return int(widths[np.argmax(read / (STEP_COST[self.writer.device.type] + widths))])

    def _draw(self, logits: torch.Tensor, ready: np.ndarray) -> np.ndarray:
        """The next token of each row that is ready, by its own stream; int64, shape (ready,)."""
        chosen = logits[torch.from_numpy(ready).to(logits.device)].float()
        if grammar := self.writer.grammar:
            temperature = self.writer.decoding.temperature
            whole = torch.logsumexp(chosen / temperature, dim=-1)
            chosen = grammar.restrict(chosen, self.states[ready], self.left[ready])
            kept = torch.logsumexp(chosen / temperature, dim=-1) - whole
            columns = [self._column(row) for row in ready.tolist()]
            self.kept[ready, columns] += kept.clamp(max=0).double().cpu().numpy()
        drawn = draw_tokens(chosen, self.warpers, [self.streams[row] for row in ready.tolist()])
        if grammar:
            self.states[ready] = grammar.advance(self.states[ready], drawn)
        return drawn

    def _take(self, row: int, token: int) -> None:
        """Put the token drawn behind the row's value, and what must follow it."""
        self.tokens[row] += 1
        self.left[row] -= 1
        if token != self.quote:
            self.values[row][-1].append(token)  # a value without an end is cut, and read for what it is
            if self.left[row] or self.writer.grammar:
                self.pending[row] = [token]
                if self._follow(row):
                    return
        self._end_value(row)

    def _follow(self, row: int) -> bool:
        """Put the tokens that must come next behind the row's value, up to its end or a token that is to be drawn: whether
        there is one."""
        grammar = self.writer.grammar
        while grammar and (only := grammar.only(self.states[row])):
            token, self.states[row] = only
            self._force(row, token)
            if token == self.quote:
                return False
        return True

    def _force(self, row: int, token: int) -> None:
        """Put a token that is no choice behind the row's value; a pass that reads so far tells its probability."""
        self.forced[row].append(_Forced(len(self.pending[row]) - 1, token, self._column(row)))
        self.streams[row].random()  # a number for each token, drawn or not
        self.tokens[row] += 1
        self.left[row] -= 1
        if token != self.quote:
            self.values[row][-1].append(token)
            self.pending[row].append(token)

    def _column(self, row: int) -> int:
        """The number of the column whose value is being written."""
        return self.prompts[row].columns[len(self.values[row]) - 1]

    def _end_value(self, row: int) -> None:
        """Close a value, and begin the next ones up to one of which something is to be drawn, or the row's end."""
        while True:
            if self.writer.implied:
                text = self.writer.encoder.decode_value(self.values[row][-1])
                self.implied[row].update(self.writer.implied.get((self._column(row), text), {}))
            if len(self.values[row]) == len(self.keys[row]):
                self.unfinished.remove(row)
                self.pending[row] = self.pending[row] if self.forced[row] else []
                return
            self.pending[row] += [self.quote, *self.keys[row][len(self.values[row])]]
            self.values[row].append([])
            if self._begin_value(row):
                return

    def _begin_value(self, row: int) -> bool:
        """Read a given value, write an implied one, or make ready to draw one: whether a token is to be drawn."""
        column, encoder = self._column(row), self.writer.encoder
        if column in self.prompts[row].given:
            self.values[row][-1] = encoder.encode([self.prompts[row].given[column]])
            self.pending[row] += self.values[row][-1]
            return False
        self.left[row] = self.writer.limits.value
        if grammar := self.writer.grammar:
            self.states[row], self.kept[row, column] = grammar.starts[column], 0.0
            if column in self.implied[row]:
                for token in encoder.encode([self.implied[row][column], QUOTE]):
                    self._force(row, token)
                return False
        return self._follow(row)

    def _written(self, row: int) -> Written:
        decode = self.writer.encoder.decode_value
        cells = [f"{key}{decode(ids)}{QUOTE}" for key, ids in zip(self.prompts[row].keys, self.values[row], strict=True)]
        left = np.exp(self.kept[row]).tolist() if self.writer.grammar else []
        return Written("".join(cells) + CLOSE, self.tokens[row], left, self.streams[row].random())
