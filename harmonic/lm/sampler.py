"""Exactly n rows from a language model: tries in shards that survive a kill, read strictly, what was refused counted."""

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from harmonic.codec import Unreadable
from harmonic.distributed import gathered, place
from harmonic.errors import SamplingFailed
from harmonic.lm.decoding import Decoding, Prompt, Written
from harmonic.lm.segments import SegmentEncoder
from harmonic.store import write_atomically
from harmonic.training import Compute, progress_bar

log = logging.getLogger(__name__)

PATIENCE = 256
"""Tries without a single valid row after which sampling gives up."""
SHARD = 256
"""Tries whose rows are kept together: what a kill costs at most."""
MORE = 1.1
"""Tries are planned for so many times the rows that are missing, at the rate of valid rows so far."""


Keeps = Callable[[Sequence[dict[str, Any]], Sequence[int]], np.ndarray]
"""Valid rows and the numbers of their tries, to whether each is kept, bool, shape (n,)."""


class RowWriter(Protocol):
    """A model that writes rows: `decoding.Writer`, or another engine."""

    @property
    def encoder(self) -> SegmentEncoder:
        """Text to tokens."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How rows are written."""
        ...

    def prepare(self) -> None:
        """Make ready to write."""
        ...

    def write(self, prompts: Sequence[Prompt], numbers: Sequence[int]) -> list[Written]:
        """The rows of some tries; a row depends on its prompt and its number, not on the others.

        That is so in float32: in bfloat16 sums hang on the shapes of a batch, and now and then a token with them.
        """
        ...


@dataclass
class Generation:
    """What sampling did, for the record."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """The try that each row came of."""
    tried: int = 0
    turned_down: int = 0
    """Valid rows that were not kept."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Rejected rows by reason."""
    new_tokens: int = 0
    """Tokens the model drew."""
    prompt_tokens: int = 0
    """Tokens the model was shown."""
    failures: list[str] = field(default_factory=list)
    """A few rejected texts, as the model wrote them."""
    refused: Counter[str] = field(default_factory=Counter)
    """Rejected rows by the column whose cell was the reason."""
    left: list[list[float]] = field(default_factory=list)
    """Per try, the probability that the masks left to each value, by number of the column; empty without masks."""

    @property
    def tokens(self) -> int:
        """Tokens the model had before it, read and drawn."""
        return self.prompt_tokens + self.new_tokens

    def count(self, written: Written, row: dict[str, Any] | Unreadable) -> None:
        """Take account of a try: what it cost, and why it is no row if it is none."""
        self.tried += 1
        self.new_tokens += written.tokens
        self.prompt_tokens += written.read
        if written.left:
            self.left.append(written.left)
        if isinstance(row, Unreadable):
            self.rejected[str(row)] += 1
            self.refused[row.column] += 1
            if len(self.failures) < 3:
                self.failures.append(written.text)

    def counts(self) -> dict[str, Any]:
        """Rows tried, kept and rejected by reason, most frequent first."""
        return {
            "tried": self.tried,
            "kept": len(self.rows),
            **({"turned_down": self.turned_down} if self.turned_down else {}),
            "validity": (len(self.rows) + self.turned_down) / self.tried if self.tried else None,
            "new_tokens": self.new_tokens,
            "prompt_tokens": self.prompt_tokens,
            "rejected": dict(self.rejected.most_common()),
        }

    def by_column(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Under masks: validity of each column's values before and after them, and the probability they took away.

        Before is the chance that the model alone, given a prompt and valid cells before, writes a valid value: over rows
        drawn under masks, the mean of the probability that the masks left to the value (the product over its tokens).
        """
        if not self.left:
            return {}
        left = np.array(self.left)
        drawn = ~np.isnan(left).all(axis=0)
        before = np.nanmean(left[:, drawn], axis=0)
        return {
            name: {
                "validity_before": float(share),
                "validity_after": 1 - self.refused[name] / self.tried,
                "mass_removed": float(1 - share),
            }
            for name, share in zip(np.array(names)[drawn].tolist(), before, strict=True)
        }


def sample_rows(
    writer: RowWriter,
    prompt: Callable[[int], Prompt],
    read: Callable[[str], dict[str, Any]],
    n: int,
    *,
    compute: Compute,
    work_dir: Path | None = None,
    keeps: Keeps | None = None,
    what: str = "sampling",
) -> Generation:
    """Exactly n valid rows: the first n that are valid in the order of the tries, whatever the batches were (in float32).

    Under a torch process group (torchrun) the processes share the tries, and each returns all rows: those one would write.

    Args:
        writer: the model and how it writes.
        prompt: number of the try to prompt.
        read: text to row; raises Unreadable with a reason.
        n: rows wanted.
        compute: device and precision.
        work_dir: where shards go, and where a run that was killed is taken up again; none are written without it.
        keeps: which valid rows are kept; if not given, all are.
        what: how the progress bar calls it.

    Raises:
        SamplingFailed: n rows were not to be had; the message counts the reasons and shows what the model wrote.
    """
    writer.prepare()
    result = Generation()
    limit = max(PATIENCE, int(n * writer.decoding.max_tries))
    with progress_bar(what, n) as bar:
        while len(result.rows) < n:
            if result.tried >= limit or (result.tried >= PATIENCE and not result.rows and not result.turned_down):
                raise SamplingFailed(_failure(result, n, limit))
            rate = len(result.rows) / result.tried if result.rows else 1.0
            wanted = math.ceil((n - len(result.rows)) / rate * (MORE if result.tried else 1.0))
            tries = range(result.tried, result.tried + min(wanted, limit - result.tried))
            before = len(result.rows)
            shards = _next_shards(writer, prompt, tries, compute, work_dir)
            rows = [_read(written, read, writer.decoding.exact) for written in shards]
            for number, written, row, kept in zip(tries, shards, rows, _kept(rows, tries[0], keeps), strict=False):
                if len(result.rows) == n:
                    break
                result.count(written, row)
                if isinstance(row, Unreadable):
                    continue
                if kept:
                    result.rows.append(row)
                    result.numbers.append(number)
                else:
                    result.turned_down += 1
            bar.set_postfix(valid=f"{(len(result.rows) + result.turned_down) / result.tried:.0%}", refresh=False)
            bar.update(len(result.rows) - before)
    return result


def complete_rows(
    writer: RowWriter,
    prompt: Callable[[int, int], Prompt],
    read: Callable[[str], dict[str, Any]],
    n: int,
    *,
    compute: Compute,
    work_dir: Path | None = None,
) -> Generation:
    """A valid row for each of n prompts, in their order.

    Args:
        writer: the model and how it writes.
        prompt: number of the row and of the attempt at it to prompt.
        read: text to row; raises Unreadable with a reason.
        n: rows wanted.
        compute: device and precision.
        work_dir: as in `sample_rows`.

    Raises:
        SamplingFailed: a row was not valid in `decoding.max_tries` attempts.
    """
    writer.prepare()
    result = Generation()
    rows: dict[int, dict[str, Any]] = {}
    numbers: dict[int, int] = {}
    waiting = list(range(n))
    size = _shard_size(writer) * place()[1]
    with progress_bar("completing", n) as bar:
        for attempt in range(int(writer.decoding.max_tries)):
            for start in range(0, len(waiting), size):
                chosen = waiting[start : start + size]
                tries = [attempt * n + row for row in chosen]
                shards = _next_shards(writer, lambda number: prompt(number % n, number // n), tries, compute, work_dir)
                for row, number, written in zip(chosen, tries, shards, strict=True):
                    values = _read(written, read, writer.decoding.exact)
                    result.count(written, values)
                    if not isinstance(values, Unreadable):
                        rows[row], numbers[row] = values, number
                        bar.update(1)
            waiting = [row for row in waiting if row not in rows]
            if not waiting:
                result.rows = [rows[row] for row in range(n)]
                result.numbers = [numbers[row] for row in range(n)]
                return result
    result.rows = [rows[row] for row in sorted(rows)]
    raise SamplingFailed(_failure(result, n, result.tried))


def _shard_size(writer: RowWriter) -> int:
    return max(SHARD, writer.decoding.batch_size)


def _next_shards(
    writer: RowWriter, prompt: Callable[[int], Prompt], tries: Sequence[int], compute: Compute, work_dir: Path | None
) -> list[Written]:
    """The rows of the first of these tries, a shard for each process, in their order; every process gets them all."""
    size, (rank, processes) = _shard_size(writer), place()
    shards = [tries[start : start + size] for start in range(0, len(tries), size)][:processes]
    mine = _shard(writer, prompt, shards[rank], compute, work_dir) if rank < len(shards) else []
    if processes == 1:
        return mine
    return [row for shard in gathered(mine) for row in shard]


def _shard(
    writer: RowWriter, prompt: Callable[[int], Prompt], tries: Sequence[int], compute: Compute, work_dir: Path | None
) -> list[Written]:
    """The rows of some tries, in their order: written, or as an earlier run left them."""
    file = work_dir / f"tries-{tries[0]}-{tries[-1]}.json" if work_dir else None
    if file and file.exists():
        try:
            return [Written(**row) for row in json.loads(file.read_text())]
        except (ValueError, TypeError):
            log.warning("%s cannot be read, and its rows are written again", file)
    prompts = [prompt(number) for number in tries]
    read = [len(writer.encoder.encode(prompt.text)) for prompt in prompts]
    order = np.argsort([-length for length in read], kind="stable")
    rows: list[Written | None] = [None] * len(prompts)
    with torch.inference_mode(), compute.autocast():
        for start in range(0, len(order), writer.decoding.batch_size):
            places = order[start : start + writer.decoding.batch_size].tolist()
            batch = writer.write([prompts[place] for place in places], [tries[place] for place in places])
            for place, row in zip(places, batch, strict=True):
                rows[place] = replace(row, read=read[place])
    whole = [row for row in rows if row is not None]
    if file:
        write_atomically(file, json.dumps([asdict(row) for row in whole]))
    return whole


def _read(written: Written, read: Callable[[str], dict[str, Any]], exact: bool) -> dict[str, Any] | Unreadable:
    """The row that a text is, or why it is none."""
    if exact and written.luck >= np.nanprod(written.left):
        return Unreadable("given back to the masks")
    try:
        return read(written.text)
    except Unreadable as reason:
        return reason


def _kept(rows: Sequence[dict[str, Any] | Unreadable], first: int, keeps: Keeps | None) -> np.ndarray:
    """Which tries, the first of which has this number, are kept if they are valid, bool, shape (tries,)."""
    kept = np.ones(len(rows), dtype=bool)
    valid = {place: row for place, row in enumerate(rows) if not isinstance(row, Unreadable)}
    if keeps is not None and valid:
        kept[list(valid)] = keeps(list(valid.values()), [first + place for place in valid])
    return kept


def _failure(result: Generation, n: int, limit: int) -> str:
    reasons = ", ".join(f"{reason} ({count})" for reason, count in result.rejected.most_common(3))
    wrote = " | ".join(text[:200].replace("\n", " ") for text in result.failures)
    return (
        f"{len(result.rows)} of {n} rows were valid after {result.tried} tries (limit {limit}): {reasons}; the model wrote: "
        f"{wrote} -- train longer (model.training.epochs, model.training.min_steps), lower "
        f"method.sampling.decoding.temperature, or raise method.sampling.decoding.max_tries."
    )
