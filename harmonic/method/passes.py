"""The passes of a call: rows for a classifier to learn from, rows to make examples of, the rows that are returned."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harmonic.lm.decoding import Writer
from harmonic.lm.sampler import Generation, Keeps, sample_rows
from harmonic.lm.vllm_writer import VllmWriter
from harmonic.method.examples import Source
from harmonic.method.prompts import Prompter
from harmonic.method.rejection import Discriminator
from harmonic.method.sampling import Sampling
from harmonic.seed import derive_seed
from harmonic.table.encoding import Encoder
from harmonic.training import Compute


@dataclass(frozen=True)
class Pass:
    """Rows, and what was written to learn which of them to keep."""

    rows: Generation
    trial: Generation | None = None
    rejection: dict[str, float] | None = None

    def report(self, name: str, of: str = "") -> dict[str, Any]:
        """What the record says of it: its rows by this name, the others behind this prefix."""
        if self.trial is None:
            return {name: self.rows.counts()}
        return {name: self.rows.counts(), f"{of}trial": self.trial.counts(), f"{of}rejection": self.rejection}

    @property
    def tokens(self) -> int:
        """Tokens the model had before it, read and drawn."""
        return self.rows.tokens + (self.trial.tokens if self.trial else 0)


@dataclass(frozen=True)
class Draft:
    """Rows that were written to make examples of."""

    asked: tuple[int, int, Sampling, bool]
    """How many, the seed, how, and whether with empty cells."""
    source: Source
    made: Pass


@dataclass(frozen=True)
class Passes:
    """How a fitted model's rows are written."""

    prompter: Prompter
    encoder: Encoder
    """Fitted on train."""
    read: Callable[[str], dict[str, Any]]
    """A row from its text; Unreadable where there is none."""
    as_table: Callable[[Sequence[dict[str, Any]]], pd.DataFrame]
    keep: float | None
    """The share of the rows that is kept, those that `Discriminator` takes for train's; None for all."""
    compute: Compute

    def rows_written(self, n: int) -> int:
        """How many rows `run` has the model write for n, those included that are not kept."""
        return n if self.keep is None else self._trial_size(n) + math.ceil(n / self.keep)

    def run(
        self, writer: Writer | VllmWriter, n: int, source: Source, work_dir: Path | None, what: str = "sampling"
    ) -> Pass:
        """n rows, less those that are not kept; `what` they are, for the progress bar."""
        if self.keep is None:
            return Pass(self._write(writer, n, source, work_dir, what))
        writer.prepare()
        trying = replace(writer, seed=derive_seed(writer.seed, "trial"))
        trial_dir = work_dir / "trial" if work_dir else None
        trial = self._write(trying, self._trial_size(n), source, trial_dir, f"{what}, trial rows")
        train = self.prompter.train.rows
        discriminator = Discriminator.fit(train, self.as_table(trial.rows), self.encoder, self.keep, trying.seed)

        def keeps(rows: Sequence[dict[str, Any]], numbers: Sequence[int]) -> np.ndarray:
            return discriminator.keeps(self.as_table(rows), numbers)

        return Pass(self._write(writer, n, source, work_dir, what, keeps), trial, discriminator.report)

    def _trial_size(self, n: int) -> int:
        return self.prompter.sampling.trial_size(n, len(self.prompter.train.rows))

    def _write(
        self,
        writer: Writer | VllmWriter,
        n: int,
        source: Source,
        work_dir: Path | None,
        what: str,
        keeps: Keeps | None = None,
    ) -> Generation:
        return sample_rows(
            writer,
            lambda number: self.prompter.prompt(number, writer.seed, source),
            self.read,
            n,
            compute=self.compute,
            work_dir=work_dir,
            keeps=keeps,
            what=what,
        )
