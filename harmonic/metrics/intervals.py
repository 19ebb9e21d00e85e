"""Intervals of what the metrics estimate: shares, and areas under the ROC curve."""

import numpy as np
from scipy.stats import beta, norm, rankdata

RESAMPLES = 1000
CHUNK_CELLS = 8_000_000
"""Cells of one block of resamples, so that memory stays bounded."""


def wilson_interval(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share of n rows; neither need be of whole ones: ties are halved, and rows that hang
    together are worth fewer.

    Wilson 1927, *Probable inference, the law of succession, and statistical inference*, JASA 22.
    """
    z = float(norm.ppf((1 + confidence) / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def clopper_pearson(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share, where `count` of n rows have what is counted.

    Clopper & Pearson 1934, *The use of confidence or fiducial limits illustrated in the case of the binomial*,
    Biometrika 26.
    """
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, n - count)) if count < n else 1.0
    return low, high


def hit_rate_interval(
    positive: np.ndarray, negative: np.ndarray, rate: float, confidence: float = 0.95
) -> tuple[float, float]:
    """An interval of the share of all positives above the threshold that a share `rate` of all negatives exceeds.

    Of the negatives at hand nobody knows how many of all exceed one of them: with continuous scores that is Beta(j + 1, m -
    j) for the one behind the j greatest of m. So each end has a threshold of its own, strict or lax enough to be on the
    safe side, and Clopper and Pearson's end for the positives beyond it, each sure by a quarter of the error; 0 or 1 where
    there are too few negatives for any. It holds for ties, too.
    """
    part = (1 - confidence) / 4
    descending = np.sort(negative)[::-1]
    behind = np.arange(len(negative))
    exceeds_rate = beta.sf(rate, behind + 1, len(negative) - behind)
    strict, lax = np.flatnonzero(exceeds_rate <= part), np.flatnonzero(exceeds_rate >= 1 - part)
    low, high = 0.0, 1.0
    if len(strict):
        hits = int((positive > descending[strict[-1]]).sum())
        low = clopper_pearson(hits, len(positive), 1 - 2 * part)[0]
    if len(lax):
        hits = int((positive >= descending[lax[0]]).sum())
        high = clopper_pearson(hits, len(positive), 1 - 2 * part)[1]
    return low, high


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """P(a positive's score exceeds a negative's), ties halved: the area under the ROC curve."""
    return float(_areas(*_sorted(positive, negative))[0])


def auc_interval(
    positive: np.ndarray, negative: np.ndarray, rng: np.random.Generator, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of `auc`, over resamples of the positives and of the negatives.

    Where the two are told apart without an error, resamples are too, and the interval is a point: it then speaks of the
    rows at hand, not of those one might have drawn. Of ten or twenty of a kind it is too narrow where the area is far from
    .5: at a confidence of .99 and an area of .86, 2 to 5 % of its low ends lie above that.
    """
    places, positives, _ = _sorted(positive, negative)
    levels = len(positives)
    step = max(1, CHUNK_CELLS // levels)
    areas = []
    for start in range(0, RESAMPLES, step):
        draws = min(step, RESAMPLES - start)
        counts = [
            np.stack([np.bincount(own[rng.integers(0, len(own), len(own))], minlength=levels) for _ in range(draws)])
            for own in (places[: len(positive)], places[len(positive) :])
        ]
        areas.append(_areas(places, *counts))
    low, high = np.quantile(np.concatenate(areas), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def auc_with_variance(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """P(a positive's score exceeds a negative's), ties halved, and its variance over draws of two samples or more each.

    A score's placement is the share of the other sample on the right side of it; the variance is the sum of the two
    samples' variances of placements over their sizes (DeLong et al. 1988).
    """
    ranks = rankdata(np.concatenate([positive, negative]))
    m, n = len(positive), len(negative)
    of_positives = (ranks[:m] - rankdata(positive)) / n
    of_negatives = 1.0 - (ranks[m:] - rankdata(negative)) / m
    return float(of_positives.mean()), float(of_positives.var(ddof=1) / m + of_negatives.var(ddof=1) / n)


def _sorted(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each score's place among the distinct scores, positives first; how many of either kind have each, shape (s,)."""
    levels, places = np.unique(np.concatenate([positive, negative]), return_inverse=True)
    counts = [np.bincount(own, minlength=len(levels)) for own in (places[: len(positive)], places[len(positive) :])]
    return places, counts[0], counts[1]


def _areas(places: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Areas from counts per distinct score, ascending, shape (..., s); at least one-dimensional."""
    positives, negatives = np.atleast_2d(positives), np.atleast_2d(negatives)
    below = negatives.cumsum(axis=-1) - negatives / 2
    return (positives * below).sum(axis=-1) / (positives.sum(axis=-1) * negatives.sum(axis=-1))
