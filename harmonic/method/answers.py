"""Rows put before a fine-tuned model that is asked how likely it finds them: as the answers of training's instructions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harmonic.codec import wrap
from harmonic.lm.likelihood import Scored
from harmonic.method.examples import Source
from harmonic.method.instructions import Composer
from harmonic.method.rewriting import Rewriting
from harmonic.neighbours import Search, mixed_neighbours
from harmonic.table.encoding import Encoder


@dataclass(frozen=True)
class Answers:
    """What stands before each row: the rows of train that are nearest to it, or crossovers of them."""

    composer: Composer
    train: Source
    rewriting: Rewriting
    within_class: bool
    """Whether those are of its class."""
    search: Search | None

    def nearest(self, rows: pd.DataFrame, own: np.ndarray | None, withheld: np.ndarray | None) -> np.ndarray:
        """Row numbers of train, nearest first, int64, (n, k) or (n, pool); see `Harmonic.log_likelihood`."""
        encoder = Encoder.fit(self.train.rows, self.rewriting.written)
        left = np.setdiff1d(np.arange(len(self.train.rows)), [] if withheld is None else withheld)
        places = None if own is None else np.searchsorted(left, own)
        size = min(self.train.groups.neighbours.shape[1], len(left) - (own is not None))
        near, train = self.rewriting.write(rows), self.train.rows.iloc[left]
        found = mixed_neighbours(encoder, near, train, size, within_class=self.within_class, own=places, search=self.search)
        return left[found]

    def scored(self, rows: pd.DataFrame, shown: np.ndarray, seed: int, *, without_examples: bool) -> Callable[[int], Scored]:
        """Number to row, behind examples made of these rows of train, its columns in an order of its own."""
        composer, cells = self.composer, self.composer.codec.cells(self.rewriting.write(rows))

        def scored(number: int) -> Scored:
            order = composer.columns(seed, "likelihood", number)
            examples = composer.make(self.train.cells, shown[number], seed, "likelihood", number)
            dialogue = wrap(composer.text(examples, order))
            if without_examples:
                dialogue = dialogue[:3]  # "Human:", the introduction, "Example one:"
            return Scored(dialogue, composer.keys(order), [cells[number][place] for place in order], order)

        return scored
