"""What an attack on membership is given: rows of which some were trained on, and what an attacker may hold."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harmonic.seed import derive_seed
from harmonic.table import Split
from harmonic.table.encoding import Encoded


@dataclass(frozen=True)
class Audit:
    """Candidates, members first, beside the synthetic table and a reference from the same source.

    An attack is a function from an audit to a score for each candidate, float64, shape (2m,): greater where it takes the
    candidate for a member. It is None where the attack has nothing to work on.
    """

    split: Split
    synthetic: pd.DataFrame
    synthesizer: Any
    own: np.ndarray
    """int64, shape (m,): the members, as rows of `split.train`."""
    others: np.ndarray
    """int64, shape (m,): as many rows of `split.test`, which are no members."""
    seed: int

    @classmethod
    def draw(cls, split: Split, synthetic: pd.DataFrame, synthesizer: Any, max_members: int, seed: int) -> "Audit":
        """As many members as the smaller of train and test holds, at most `max_members`, and as many others."""
        m = min(len(split.train), len(split.test), max_members)
        rng = np.random.default_rng(derive_seed(seed, "candidates"))
        own, others = (np.sort(rng.choice(len(table), m, replace=False)) for table in (split.train, split.test))
        return cls(split, synthetic, synthesizer, own, others, seed)

    def first(self, members: int) -> "Audit":
        """The same with this many members, and as many others, at most, drawn again from its own."""
        if members >= len(self.own):
            return self
        rng = np.random.default_rng(derive_seed(self.seed, "fewer"))
        own, others = (np.sort(rng.choice(rows, members, replace=False)) for rows in (self.own, self.others))
        return Audit(self.split, self.synthetic, self.synthesizer, own, others, self.seed)

    @property
    def members(self) -> pd.DataFrame:
        """The candidates that were trained on."""
        return self.split.train.iloc[self.own].reset_index(drop=True)

    @property
    def strangers(self) -> pd.DataFrame:
        """The candidates that were not."""
        return self.split.test.iloc[self.others].reset_index(drop=True)

    @cached_property
    def candidates(self) -> Encoded:
        """All of them for distances."""
        return self.split.encoder.encode(self.members) + self.split.encoder.encode(self.strangers)

    @cached_property
    def candidate_points(self) -> np.ndarray:
        """All of them as points, float64, shape (2m, d)."""
        return np.concatenate([self.split.encoder.points(table) for table in (self.members, self.strangers)])

    @cached_property
    def synthetic_points(self) -> np.ndarray:
        """The synthetic rows as points, float64, shape (n, d)."""
        return self.split.encoder.points(self.synthetic)

    @cached_property
    def reference_points(self) -> np.ndarray:
        """Validation rows as points, float64, shape (r, d): what an attacker knows of the population."""
        return self.split.encoder.points(self.split.val)

    @cached_property
    def likelihoods(self) -> np.ndarray | None:
        """Log-likelihood of every candidate's cells in nats, shape (2m, c); None for a method that knows none.

        No member is shown with itself, where the method shows rows of train.
        """
        if not hasattr(self.synthesizer, "log_likelihood"):
            return None
        seed = derive_seed(self.seed, "likelihood")
        members = self.synthesizer.log_likelihood(self.members, seed=seed, own=self.own)
        return np.concatenate([members, self.synthesizer.log_likelihood(self.strangers, seed=seed)])
