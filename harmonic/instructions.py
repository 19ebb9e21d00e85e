"""Instructions put together: which examples, in which order of columns, as which text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harmonic.codec import Instruction, RowCodec, Segments, instruction
from harmonic.dependencies import Links
from harmonic.examples import Cells, Examples, crossed, draw_parents
from harmonic.lm.decoding import Prompt
from harmonic.seed import derive_seed

Order = Literal["shuffled", "fixed"]


@dataclass(frozen=True)
class Composer:
    """How rows become prompts and answers, without the dialogue form. What is drawn depends on the stream alone."""

    codec: RowCodec
    k: int
    """Examples of an instruction."""
    examples: Examples
    order: Order
    """shuffled: a new order of the features for each stream; fixed: the table's."""
    links: Links
    """Columns that determine others: those of crossovers come from one row, and a shuffled order begins with them."""

    def columns(self, *stream: int | str) -> list[int]:
        """Column numbers in the order they are written."""
        if self.order == "fixed":
            return list(range(len(self.codec.schema.columns)))
        return self.links.in_order(self.codec.order(np.random.default_rng(derive_seed(0, "order", *stream))))

    def make(self, cells: Cells, group: np.ndarray, *stream: int | str) -> list[list[str]]:
        """The examples of a group of rows of these texts."""
        return crossed(cells, self.parents(group, *stream))

    def parents(self, group: np.ndarray, *stream: int | str) -> np.ndarray:
        """The rows whose cells they show, int64, shape (k, c), see `draw_parents`."""
        rng = np.random.default_rng(derive_seed(0, "examples", *stream))
        return draw_parents(self.examples, group, self.k, rng, self.links.groups)

    def text(self, examples: Cells, columns: Sequence[int]) -> Segments:
        """The instruction that shows these examples."""
        return instruction(self.codec.schema, [self.codec.row(row, columns) for row in examples])

    def keys(self, columns: Sequence[int]) -> Segments:
        """What stands before each value of the answer."""
        return [self.codec.key(place, first=rank == 0) for rank, place in enumerate(columns)]

    def prompt(self, examples: Cells, columns: list[int]) -> Prompt:
        """What the model is shown, and what its answer must look like."""
        return Prompt(self.text(examples, columns), self.keys(columns), columns)

    def training(self, examples: Cells, answer: Sequence[str], columns: Sequence[int]) -> Instruction:
        """What the model is to learn: the instruction, and a row in answer."""
        return Instruction(self.text(examples, columns), self.codec.row(answer, columns))
