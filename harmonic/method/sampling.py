"""How a fine-tuned model is prompted for rows, and which of them are kept: `method.sampling`."""

import math
from dataclasses import dataclass, field
from typing import Literal

from harmonic.errors import BadInput, check_bool, check_choice, check_count
from harmonic.lm.decoding import Decoding
from harmonic.method.rejection import FOLDS

Prompts = Literal["generated", "neighbours", "random"]
Engine = Literal["torch", "vllm"]

LARGE = 2000
"""A table of more rows is large: its pools are wide, and there are rows enough to learn which of those written to keep."""
LEAST_DRAFT = 2000
"""Rows of a draft, however few are wanted: among fewer, those that are near to each other are not near."""
LEAST_TRIAL = 100
"""Rows that the classifier of `Sampling.keep` learns from, however few are wanted."""


@dataclass(frozen=True)
class Sampling:
    """How HARMONIC is prompted; none of it touches the fine-tuned weights."""

    prompts: Prompts = "generated"
    """Of which rows the examples are made. generated: of rows the method wrote first, prompted with neighbours, so that the
    prompts of the rows it returns hold nothing of train. neighbours: of those of a training instruction, its answer
    withheld; every kept row is an anchor equally often. random: k random train rows, as published."""
    draft_rows: int = 8000
    """Under prompts=generated, how many rows are written first: as many as are wanted, or `LEAST_DRAFT` where those are
    fewer, but no more than this, or than train has."""
    keep: float | Literal["auto"] | None = "auto"
    """Of the rows it writes, those of a draft too, the share that is kept: those that a classifier takes for train's, see
    `harmonic.method.rejection.Discriminator`. null: all. auto: half of them on tables of more than `LARGE` rows."""
    trial_rows: int = 4000
    """Rows that are written for the classifier to learn from: as many as are wanted, or `LEAST_TRIAL` where those are fewer,
    but no more than this, or than train has."""
    wrapped: bool = True
    """Put the prompt in the dialogue form of training; the published sampler leaves it off."""
    decoding: Decoding = field(default_factory=Decoding)
    engine: Engine = "torch"
    """torch: our sampler; vllm: the same prompts and masks handed to vLLM, an extra, which draws implied values too."""

    def __post_init__(self) -> None:
        check_choice("method.sampling.prompts", self.prompts, Prompts)
        check_choice("method.sampling.engine", self.engine, Engine)
        check_bool("method.sampling.wrapped", self.wrapped)
        check_count("method.sampling.draft_rows", self.draft_rows, 2)
        check_count("method.sampling.trial_rows", self.trial_rows, FOLDS)
        if self.keep not in (None, "auto") and not (isinstance(self.keep, float) and 0 < self.keep < 1):
            raise BadInput(
                f"method.sampling.keep must be auto, null for all rows, or lie between 0 and 1, but is {self.keep}."
            )
        if isinstance(self.keep, float) and self.keep * self.decoding.max_tries < 2:
            raise BadInput(
                f"method.sampling.keep={self.keep} turns down more than method.sampling.decoding.max_tries="
                f"{self.decoding.max_tries:g} makes up for: raise that to {math.ceil(2 / self.keep)}."
            )

    def draft_size(self, n: int, train_rows: int) -> int:
        """Rows written first under prompts=generated, where n are wanted."""
        return min(train_rows, self.draft_rows, max(n, LEAST_DRAFT))

    def trial_size(self, n: int, train_rows: int) -> int:
        """Rows written for the classifier of `keep`, where n are wanted."""
        return min(train_rows, self.trial_rows, max(n, LEAST_TRIAL))
