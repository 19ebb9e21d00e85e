"""Membership by density: a generator that over-fits puts more mass where its rows were than the population has there.

Densities are kernel estimates in the reference's principal components, each scaled to unit variance. The kernel is a
multivariate Cauchy density, a tenth of Scott's bandwidth wide. A Gaussian kernel, which the published attacks use, falls so
fast that the ratio of two densities between their rows follows squared distances, and a copy of train passes for private:
measured with DOMIAS on Pima, it finds an exact copy's members with an area of .79, this one with 1.00, and those behind
numbers with noise of 5 % of their range with .70 against .77. The kernel's powers make the ratio one of distances, whatever
their size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from harmonic.metrics.attacks.audit import Audit

COMPONENTS = 32
"""Principal components at most: beyond, a kernel estimate of some thousand rows is noise."""
LEAST_VARIANCE = 1e-6
"""Components below this share of the first one's variance are left out: they are sums that are always the same."""
WIDTH = 0.1
"""The kernel's width in units of Scott's rule."""
CHUNK_CELLS = 4_000_000


def domias(audit: Audit) -> np.ndarray:
    """Logarithm of the synthetic density over the reference density, at each candidate.

    Source: van Breugel et al. 2023, *Membership inference attacks against synthetic data through overfitting detection*
    (DOMIAS), with a kernel estimator.
    """
    space = Space.of(audit.reference_points)
    candidates, synthetic, reference = _placed(space, audit)
    return log_density(candidates, synthetic) - log_density(candidates, reference)


def gen_lra(audit: Audit) -> np.ndarray:
    """How much likelier the nearest synthetic row becomes when a candidate joins the reference.

    The log-likelihood ratio of that row under the kernel estimate from reference and candidate against that from the
    reference alone. Published with several rows around the candidate: on german, Pima and Buddy one was the stronger
    (of 1, 5 and 20) on copies and on noise of 2 % and 5 % of the range; at 10 % several were on Pima, by .04.

    Source: Ward et al. 2025, *Synth-MIA*, which lists it as Gen-LRA, generative likelihood ratio attack.
    """
    space = Space.of(audit.reference_points)
    candidates, synthetic, reference = _placed(space, audit)
    known = log_density(synthetic, reference)
    n, dimension = reference.shape
    width = bandwidth(n, dimension)
    scores = np.empty(len(candidates))
    for rows, squares in _squares(candidates, synthetic):
        before = known[squares.argmin(axis=1)]
        kernel = _log_kernel(squares.min(axis=1), width, dimension)
        scores[rows] = np.logaddexp(before + np.log(n), kernel) - np.log(n + 1) - before
    return scores


@dataclass(frozen=True)
class Space:
    """Principal components of the reference, scaled to unit variance."""

    centre: np.ndarray
    axes: np.ndarray
    """float64, shape (d, c)."""

    @classmethod
    def of(cls, reference: np.ndarray) -> "Space":
        """Learn from the reference, shape (r, d)."""
        centre = reference.mean(axis=0)
        variances, axes = np.linalg.eigh(np.cov(reference, rowvar=False, ddof=0).reshape(reference.shape[1], -1))
        variances, axes = variances[::-1][:COMPONENTS], axes[:, ::-1][:, :COMPONENTS]
        kept = variances > LEAST_VARIANCE * max(variances[0], np.finfo(float).tiny)
        return cls(centre, axes[:, kept] / np.sqrt(variances[kept]))

    def place(self, points: np.ndarray) -> np.ndarray:
        """Coordinates of points, shape (n, c)."""
        return (points - self.centre) @ self.axes


def _placed(space: Space, audit: Audit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates, synthetic rows and reference in one space."""
    candidates, synthetic, reference = (
        space.place(points) for points in (audit.candidate_points, audit.synthetic_points, audit.reference_points)
    )
    return candidates, synthetic, reference


def bandwidth(n: int, dimension: int) -> float:
    """The kernel's width for n rows of unit variance."""
    return float(WIDTH * n ** (-1 / (dimension + 4)))


def log_density(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Logarithm of the kernel estimate from `rows`, shape (n, c), at `points`, shape (m, c), but for a constant."""
    n, dimension = rows.shape
    width = bandwidth(n, dimension)
    result = np.empty(len(points))
    for part, squares in _squares(points, rows):
        result[part] = logsumexp(_log_kernel(squares, width, dimension), axis=1)
    return result - np.log(n)


def _log_kernel(squares: np.ndarray, width: float, dimension: int) -> np.ndarray:
    """Logarithm of the kernel at squared distances, but for a constant that all ratios lose."""
    return -(dimension + 1) / 2 * np.log1p(squares / width**2) - dimension * np.log(width)


def _squares(points: np.ndarray, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of a few points at a time; the error of the product is far below a bandwidth."""
    norms = (rows**2).sum(axis=1)
    step = max(1, CHUNK_CELLS // len(rows))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        block = (points[part] ** 2).sum(axis=1)[:, None] + norms - 2 * points[part] @ rows.T
        yield part, np.maximum(block, 0.0)
