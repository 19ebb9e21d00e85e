"""Instructions put together: which examples, in which order of columns, as which text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harmonic.codec import Instruction, RowCodec, RowTexts, Segments, instruction, wrap
from harmonic.dependencies import Links
from harmonic.lm.batches import Training, plan_batches
from harmonic.lm.decoding import Prompt
from harmonic.method.examples import Cells, Examples, crossed, draw_parents
from harmonic.neighbours import Groups
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


@dataclass(frozen=True)
class Instructions:
    """What a table teaches: a row of each group behind examples of the others, put together anew for each epoch."""

    composer: Composer
    cells: RowTexts
    groups: Groups

    def __len__(self) -> int:
        return len(self.groups)

    def bare(self, number: int, seed: int, epoch: int) -> Instruction:
        """The instruction of a group, without the dialogue form."""
        examples = self.composer.make(self.cells, self.groups.neighbours[number], seed, "epoch", epoch, number)
        answer = self.cells[self.groups.anchors[number]]
        return self.composer.training(examples, answer, self.composer.columns(seed, "epoch", epoch, number))

    def wrapped(self, number: int, seed: int, epoch: int) -> Instruction:
        """The same in the dialogue form, as a model is fine-tuned on it."""
        bare = self.bare(number, seed, epoch)
        return Instruction(wrap(bare.prompt), bare.answer)

    def of_epoch(self, seed: int, epoch: int = 0) -> Iterator[Instruction]:
        """All of an epoch, bare, in the order of the groups."""
        return (self.bare(number, seed, epoch) for number in range(len(self)))

    def plan(self, training: Training, seed: int) -> list[tuple[int, np.ndarray]]:
        """The batches of a recipe: epoch and numbers of the groups."""
        return plan_batches(self._lengths(), training, derive_seed(seed, "batches"))

    def batches(self, training: Training, seed: int) -> Iterator[list[Instruction]]:
        """The instructions of those batches, wrapped."""
        for epoch, numbers in self.plan(training, seed):
            yield [self.wrapped(int(number), seed, epoch) for number in numbers]

    def _lengths(self) -> np.ndarray:
        """Characters of each, which no order of columns changes, float64, shape (m,); of crossovers the mean."""
        rows = self.cells.lengths.sum(axis=1, dtype=np.int64)
        shown = rows[self.groups.neighbours]
        return rows[self.groups.anchors] + shown.sum(axis=1) * self.composer.k / shown.shape[1]
