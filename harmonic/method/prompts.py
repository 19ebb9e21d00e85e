"""What a fine-tuned model is shown at each try."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from harmonic.codec import wrap
from harmonic.lm.decoding import Prompt
from harmonic.method.examples import Cells, Source
from harmonic.method.instructions import Composer
from harmonic.method.sampling import Sampling
from harmonic.seed import derive_seed

PUBLISHED_SEED = 416
"""Row i of the published sampler shows `train.sample(n=k, random_state=416 + i)`."""


@dataclass(frozen=True)
class Prompter:
    """Prompts by the number of the try; what is drawn depends on that, the seed and the source alone."""

    composer: Composer
    sampling: Sampling
    train: Source

    def prompt(self, number: int, seed: int, source: Source) -> Prompt:
        """In the form that the model is to have before it."""
        return self.in_form(self.bare(number, seed, source))

    def bare(self, number: int, seed: int, source: Source) -> Prompt:
        """Without the dialogue form."""
        shown = self.shown(number, seed, source)
        if self.sampling.prompts == "random":
            examples: Cells = [source.cells[row] for row in shown]
        else:
            examples = self.composer.make(source.cells, shown, seed, "prompt", number)
        return self.composer.prompt(examples, self.composer.columns(seed, "prompt", number))

    def in_form(self, bare: Prompt) -> Prompt:
        """In the dialogue form of training, unless sampling leaves it off."""
        return replace(bare, text=wrap(bare.text)) if self.sampling.wrapped else bare

    def shown(self, number: int, seed: int, source: Source) -> np.ndarray:
        """The rows of the source whose cells the prompt shows, int64, shape (k,) or (pool,)."""
        if self.sampling.prompts == "random":
            rng = np.random.RandomState(PUBLISHED_SEED + number)
            return rng.choice(len(self.train.rows), self.composer.k, replace=False)
        lap, place = divmod(number, len(source.groups))
        return source.groups.neighbours[_anchors(len(source.groups), seed, lap)[place]]

    def is_train(self, source: Source) -> bool:
        """Whether what is shown are cells of train."""
        return source.rows is self.train.rows

    def train_rows(self, shown: Sequence[np.ndarray], source: Source) -> np.ndarray:
        """`prompt_rows` of prompts that showed these rows of a source, see `harmonic.synthesizer.Synthesizer`."""
        return np.array(shown) if self.is_train(source) else np.empty((len(shown), 0), dtype=np.int64)

    def drawn(self, shown: Sequence[np.ndarray], numbers: Sequence[int], seed: int, source: Source) -> np.ndarray | None:
        """`prompt_drawn` of prompts made of these rows at these tries; None where they showed each row whole."""
        if not self.is_train(source) or self.sampling.prompts == "random" or self.composer.examples == "neighbours":
            return None
        drawn = (self.composer.parents(group, seed, "prompt", n) for group, n in zip(shown, numbers, strict=True))
        return np.array([np.isin(group, parents) for group, parents in zip(shown, drawn, strict=True)])


@lru_cache(maxsize=2)
def _anchors(groups: int, seed: int, lap: int) -> np.ndarray:
    """Group numbers in the order they are sampled in: every group once before any comes again."""
    return np.random.default_rng(derive_seed(seed, "anchors", lap)).permutation(groups)
