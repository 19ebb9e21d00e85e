"""Copying from the prompt: what a generator that is shown real rows hands through to its output."""

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from harmonic.errors import BadInput
from harmonic.metrics.attacks.cells import cell_codes
from harmonic.metrics.intervals import wilson_interval
from harmonic.metrics.rows import check_rows
from harmonic.neighbours import closest, paired
from harmonic.seed import derive_seed
from harmonic.table import Split
from harmonic.table.encoding import Encoded

log = logging.getLogger(__name__)

NO_PARTNER = -1
CHUNK_PAIRS = 500_000
"""Distances that are taken at a time: prompts of 500 rows for each row of Adult are 13 million."""


@dataclass(frozen=True)
class PromptCopy:
    """Copying from the prompt: whether a row is nearer to the train rows that its prompt showed than to those of another.

    Definition. A generator that is prompted with real rows tells which (`prompt_rows`, see `Synthesizer`). Each synthetic
    row gets a partner, drawn with the seed: another synthetic row, of the same class in classification, whose prompt is
    another; so every prompt is own once and another's once. The distance of a row to a prompt is that to the prompt's
    nearest row (the distance of `DistanceToClosestRecord`), where train rows that both prompts showed are left out.

    * `prompt_copy_share`: share of rows nearer to their own prompt than to their partner's, ties halved. 0 to 1, ideal .5,
      greater means that outputs follow their prompt. `prompt_copy_share_low`, `prompt_copy_share_high`: its 95 % Wilson
      interval over the rows that have a partner; with fewer than all, the log says how many.
    * `prompt_copy_drawn`: of a generator that tells which rows of its prompt's neighbourhood gave a cell to it
      (`prompt_drawn`): share of rows nearer to those than to the others, as many of the larger part being drawn as the
      smaller has, ties halved. 0 to 1, ideal .5: both parts are neighbours, and chance alone told them apart, so that what
      is beyond is copying and not locality. `prompt_copy_drawn_low`, `prompt_copy_drawn_high`: its interval, as above.
    * `prompt_copy_verbatim`: share of rows that equal a row of their own prompt in every column; 0 to 1, ideal
      `prompt_copy_verbatim_chance`, the share that equal a row of their partner's prompt that their own did not show.
    * `prompt_copy_verbatim_holdout`: share of hold-out rows (`split.test`) that equal any train row: how often real people
      share all their values.
    * `prompt_rows_shown`: share of train rows that stood in the prompt of some synthetic row; 0 to 1, no direction: it is
      who is at risk. Rows that only refused tries were shown do not count.
    * `prompt_rows_exposed`: share of train rows that a synthetic row whose prompt showed them equals, or comes at most as
      near to as the nearest 2 % of the hold-out come to train. 0 to 1, ideal `prompt_rows_exposed_chance`, the same for the
      prompts of the partners. `exposed_rows` names them.

    A method without prompts has no score: the result is empty. One whose prompts show no train row (`prompt_rows` of shape
    (n, 0)) has nothing to copy: what counts shown rows is 0, and there is nothing else to say; what its drafts were shown is
    not looked at. Where a prompt holds cells of several train rows, each of those rows counts as shown.

    What it cannot see: what separates copying from locality. Where a prompt holds neighbours of one another, an output near
    any of them is near to its prompt even if the generator never copies: there a share above .5, or more exposed rows than
    chance, is exposure and no proof of copying. Three things tell them apart: which of a neighbourhood's rows were drawn;
    verbatim rows, since new rows of the same source equal a train row as often as the hold-out's do, so that
    `prompt_copy_verbatim` beyond `prompt_copy_verbatim_holdout` is copying; and prompts of random rows, which are near to
    nothing by themselves. Nor does it see what leaks through the weights (DLT, canaries), or a row that is handed through
    with a few cells changed where such rows are common.

    Source: ours. HARMONIC (Wang et al. 2024) shows real rows in each prompt, and neither its DCR nor its DLT looks at what
    comes of them; that rows in the context come out again: arXiv 2507.17066.
    """

    version: ClassVar[int] = 3
    """2: knows prompts without train rows. 3: and which rows of a neighbourhood were drawn."""
    tail: float = 0.02
    """The quantile of the hold-out's distances to train below which a shown row counts as exposed."""

    def __post_init__(self) -> None:
        if not 0 <= self.tail <= 1:
            raise BadInput(f"metrics.prompt_copy.tail must lie between 0 and 1, but is {self.tail}: correct it.")

    def __call__(self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: Any = None) -> dict[str, float]:
        """Shares by key; see the class."""
        if not hasattr(synthesizer, "prompt_rows"):
            return {}
        rows = check_rows(split, synthetic, "prompt_copy", at_least=2)
        prompts = _checked(synthesizer.prompt_rows, len(rows), len(split.train))
        if not prompts.shape[1]:
            return {"prompt_rows_shown": 0.0, "prompt_rows_exposed": 0.0}
        rng = np.random.default_rng(derive_seed(seed, "prompt_copy"))
        is_class = split.schema.task != "regression"
        labels = split.encoder.target(rows) if is_class else np.zeros(len(rows), dtype=np.int64)
        partners = draw_partners(prompts, labels, rng)
        paired_rows = np.flatnonzero(partners != NO_PARTNER)
        if len(paired_rows) < len(rows):
            reason = "no other row of their class had another prompt"
            log.warning("prompt_copy: %d of %d rows are not compared: %s.", len(rows) - len(paired_rows), len(rows), reason)
        near = _Nearness.of(split, rows, self.tail)
        mine, others = prompts[paired_rows], prompts[partners[paired_rows]]
        in_others, in_mine = _shared(mine, others)
        own_apart, own_equal, own_exposed = near.to(prompts, np.arange(len(rows)))
        apart, equal, exposed = near.to(others, paired_rows)
        share, low, high = _nearer(
            np.where(in_others, np.inf, own_apart[paired_rows]).min(axis=1, initial=np.inf),
            np.where(in_mine, np.inf, apart).min(axis=1, initial=np.inf),
        )
        return {
            "prompt_copy_share": share,
            "prompt_copy_share_low": low,
            "prompt_copy_share_high": high,
            **_drawn_scores(getattr(synthesizer, "prompt_drawn", None), own_apart, rng),
            "prompt_copy_verbatim": float(own_equal.any(axis=1).mean()),
            "prompt_copy_verbatim_chance": _mean((equal & ~in_mine).any(axis=1)),
            "prompt_copy_verbatim_holdout": near.verbatim_holdout,
            "prompt_rows_shown": len(np.unique(prompts)) / len(split.train),
            "prompt_rows_exposed": len(np.unique(prompts[own_exposed])) / len(split.train),
            "prompt_rows_exposed_chance": len(np.unique(others[exposed & ~in_mine])) / len(split.train),
        }


def exposed_rows(split: Split, synthetic: pd.DataFrame, prompt_rows: np.ndarray, *, tail: float = 0.02) -> pd.DataFrame:
    """The train rows that outputs which were shown them give away, the most exposed first.

    Args:
        split: the data set.
        synthetic: n rows of the generator.
        prompt_rows: int64, shape (n, k): its attribute after `sample`, numbers of train rows.
        tail: see `PromptCopy`.

    Returns:
        A row for each exposed train row: `row`, its number in train from 0; `shown`, outputs whose prompt showed it;
        `copies`, those of them that equal it in every column; `nearest`, the distance of the nearest of them.
    """
    rows = check_rows(split, synthetic, "exposed_rows")
    prompts = _checked(prompt_rows, len(rows), len(split.train))
    apart, equal, exposed = _Nearness.of(split, rows, tail).to(prompts, np.arange(len(rows)))
    cells = {"row": prompts, "shown": np.ones_like(prompts), "copies": equal, "nearest": apart, "exposed": exposed}
    shown = pd.DataFrame({name: values.ravel() for name, values in cells.items()})
    parts = {"shown": "sum", "copies": "sum", "nearest": "min", "exposed": "any"}
    found = shown.groupby("row").agg(parts).query("exposed").drop(columns="exposed").reset_index()
    return found.sort_values(["copies", "nearest", "row"], ascending=[False, True, True], ignore_index=True)


def draw_partners(prompts: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another row for each, with the same label and another prompt, int64, shape (n,); NO_PARTNER where there is none.

    Within a label the rows stand in a circle, those with one prompt side by side, in an order that is drawn, and each is
    given the row so many places on, drawn once, that no two of one prompt meet. So every prompt is a partner's as often as
    it is own, and shares of the two can be compared. A prompt that more than half of the rows have leaves some without.
    """
    partners = np.full(len(prompts), NO_PARTNER, dtype=np.int64)
    _, kinds = np.unique(np.sort(prompts, axis=1), axis=0, return_inverse=True)
    kinds = kinds.reshape(-1)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        order = rng.permutation(kinds.max() + 1)
        circle = members[np.argsort(order[kinds[members]], kind="stable")]
        most = int(np.bincount(kinds[circle]).max())
        least, last = min(most, len(circle) // 2), max(len(circle) - most, (len(circle) + 1) // 2)
        others = np.roll(circle, -int(rng.integers(least, last + 1)))
        apart = kinds[others] != kinds[circle]
        partners[circle[apart]] = others[apart]
    return partners


@dataclass(frozen=True)
class _Nearness:
    """Synthetic rows beside train rows, a pair at a time."""

    rows: Encoded
    train: Encoded
    row_kinds: np.ndarray
    """int64, shape (n,): equal for rows that are equal in every column, synthetic or real."""
    train_kinds: np.ndarray
    threshold: float
    """Distance at which a pair counts as near."""
    verbatim_holdout: float

    @classmethod
    def of(cls, split: Split, rows: pd.DataFrame, tail: float) -> "_Nearness":
        train = split.encoder.encode(split.train)
        holdout_apart, _ = closest(split.encoder.encode(split.test), train)
        tables = (rows, split.train, split.test)
        _, kinds = np.unique(np.vstack(cell_codes(tables, split.schema)), axis=0, return_inverse=True)
        row_kinds, train_kinds, holdout_kinds = np.split(kinds.reshape(-1), np.cumsum([len(rows), len(split.train)]))
        return cls(
            split.encoder.encode(rows),
            train,
            row_kinds,
            train_kinds,
            float(np.quantile(holdout_apart, tail, method="inverted_cdf")),
            float(np.isin(holdout_kinds, train_kinds).mean()),
        )

    def to(self, prompts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each row and each train row of its prompt: distance, whether they are equal, whether equal or near; (m, k)."""
        repeated, shown = np.repeat(rows, prompts.shape[1]), prompts.ravel()
        parts = [slice(start, start + CHUNK_PAIRS) for start in range(0, len(shown), CHUNK_PAIRS)]
        found = [paired(self.rows[repeated[part]], self.train[shown[part]]) for part in parts]
        apart = np.concatenate(found).reshape(prompts.shape) if found else np.empty(prompts.shape)
        equal = self.row_kinds[rows][:, None] == self.train_kinds[prompts]
        return apart, equal, equal | (apart <= self.threshold)


def _shared(prompts: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which train rows of each prompt stand in the other prompt of its row too, and the other way round, bool, (m, k)."""
    step = max(1, CHUNK_PAIRS // max(1, prompts.shape[1]) ** 2)
    in_others, in_prompts = np.empty(prompts.shape, dtype=bool), np.empty(others.shape, dtype=bool)
    for start in range(0, len(prompts), step):
        rows = slice(start, start + step)
        same = prompts[rows, :, None] == others[rows, None, :]
        in_others[rows], in_prompts[rows] = same.any(axis=2), same.any(axis=1)
    return in_others, in_prompts


def _drawn_scores(drawn: np.ndarray | None, apart: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """`prompt_copy_drawn` and its interval; nothing where it is not known which rows were drawn, or all of them were.

    Args:
        drawn: bool, shape (n, k), or None.
        apart: float64, shape (n, k): distance of each row to those of its prompt.
        rng: of the rows that are left out to make both parts equal.
    """
    if drawn is None or drawn.all():
        return {}
    luck = rng.random(drawn.shape)
    parts = []
    for part, other in ((drawn, ~drawn), (~drawn, drawn)):
        ranks = np.argsort(np.where(part, luck, np.inf), axis=1).argsort(axis=1)  # the part's rows come first
        parts.append(part & (ranks < other.sum(axis=1, keepdims=True)))
    both = parts[0].any(axis=1)
    shown, unshown = (np.where(part, apart, np.inf).min(axis=1)[both] for part in parts)
    share, low, high = _nearer(shown, unshown)
    return {"prompt_copy_drawn": share, "prompt_copy_drawn_low": low, "prompt_copy_drawn_high": high}


def _nearer(own: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Share of rows whose own distance is smaller, ties halved, with its interval; NaN without a row."""
    if not len(own):
        return np.nan, np.nan, np.nan
    share = float(np.mean(own < other) + np.mean(own == other) / 2)
    return share, *wilson_interval(share, len(own))


def _mean(found: np.ndarray) -> float:
    return float(found.mean()) if len(found) else np.nan


def _checked(prompt_rows: np.ndarray | None, n: int, n_train: int) -> np.ndarray:
    """The numbers as an array of n rows; raises BadInput where they do not belong to these rows."""
    if prompt_rows is None:
        raise BadInput(
            "prompt_copy must know which train rows stood in the prompt of each row, but these rows were sampled without "
            "keeping it: delete the folder sample of the cache, or call sample again."
        )
    prompts = np.asarray(prompt_rows)
    if prompts.ndim != 2 or len(prompts) != n or not ((prompts >= 0) & (prompts < n_train)).all():
        raise BadInput(
            f"prompt_copy must have the rows that the generator sampled last, in their order, but prompt_rows is of shape "
            f"{prompts.shape} for {n} synthetic and {n_train} train rows: score the table that sample returned."
        )
    return prompts
