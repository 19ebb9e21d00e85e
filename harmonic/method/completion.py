"""Rows of which some cells are known, put before a fine-tuned model: examples near what is known, the rest to be written."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harmonic.codec import RowCodec, RowStyle
from harmonic.errors import BadInput
from harmonic.lm.decoding import Prompt
from harmonic.method.conditions import Conditions, check_rules
from harmonic.method.examples import Source
from harmonic.method.prompts import Prompter
from harmonic.method.rewriting import Rewriting
from harmonic.seed import derive_seed
from harmonic.table.encoding import Encoder


@dataclass(frozen=True)
class Completion:
    """What is known of rows, and how the model is asked for the rest; each row's stream is its own."""

    given: Conditions
    name: str
    """Of what was given, in errors."""
    prompter: Prompter
    rewriting: Rewriting
    within_class: bool
    """Whether the examples of a row are of its class."""
    seed: int

    @classmethod
    def of(
        cls,
        known: pd.DataFrame,
        name: str,
        prompter: Prompter,
        rewriting: Rewriting,
        row_style: RowStyle,
        *,
        within_class: bool,
        seed: int,
    ) -> "Completion":
        """Take a table of some columns, called so in errors, whose empty cells are unknown.

        Raises:
            BadInput: see `Conditions.of` and `check_rules`.
        """
        given = Conditions.of(known, RowCodec(rewriting.schema, row_style), name)
        check_rules(given.rows, rewriting.schema, name)
        return cls(given, name, prompter, rewriting, within_class, seed)

    def __len__(self) -> int:
        return len(self.given)

    def read(self, source: Source) -> Conditions:
        """What is given, as the model reads it; a span that nothing tells is that of a row of the source."""
        if not self.rewriting.units:
            return self.given
        spans = source.rows.sample(len(self), replace=True, random_state=derive_seed(self.seed, "spans"))
        written = self.rewriting.write(self.rewriting.complete(self.given.rows, spans))
        self._check_spans(written)
        return Conditions.of(written, self.prompter.composer.codec, self.name)

    def _check_spans(self, written: pd.DataFrame) -> None:
        """Raise BadInput for a known cell that lies within its own column's range, but not as it is written."""
        for name, (low, high) in self.rewriting.ranges.items():
            numbers = written[name].to_numpy(dtype=np.float64)
            beyond = np.flatnonzero(self.given.rows[name].notna() & ((numbers < low) | (numbers > high)))
            if len(beyond):
                row = int(beyond[0])
                raise BadInput(
                    f"{self.name} must hold what train's rows could, but {name} of row {row + 1} is {numbers[row]:g} "
                    f"{self.rewriting.named()[name]}, which must lie from {low} to {high}: change it, or leave it empty."
                )

    def shown(self, known: Conditions, source: Source) -> np.ndarray:
        """The rows of the source that each row's examples are made of, int64, shape (n, k) or (n, pool)."""
        streams = [np.random.default_rng(derive_seed(self.seed, "conditions", row)) for row in range(len(self))]
        encoder = Encoder.fit(self.prompter.train.rows, self.rewriting.written)
        return source.groups.neighbours[known.anchors(source, encoder, streams, within_class=self.within_class)]

    def prompts(self, known: Conditions, source: Source, shown: np.ndarray) -> Callable[[int, int], Prompt]:
        """The prompt of a row at an attempt, which holds the cells that are known of it."""
        composer = self.prompter.composer

        def prompt(row: int, attempt: int) -> Prompt:
            stream = (self.seed, "conditions", row, attempt)
            order = known.order(row, composer.codec.schema, composer.columns(*stream), target_last=self.within_class)
            bare = composer.prompt(composer.make(source.cells, shown[row], *stream), order)
            texts = {place: known.texts[row][place] for place in np.flatnonzero(known.known[row]).tolist()}
            return replace(self.prompter.in_form(bare), given=texts)

        return prompt

    def whole(self, drawn: pd.DataFrame) -> pd.DataFrame:
        """The drawn rows, as rows are, with the known cells as they were given."""
        return self.given.keep(drawn, self.rewriting.schema)
