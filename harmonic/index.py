"""An approximate index of mixed-type rows: candidates for their nearest neighbours, without a look at every pair.

A row becomes a string of bits whose Hamming distances are near the mixed distance: a number in train's range is a
thermometer (as many bits set as its level), a category a row of a Hadamard matrix, any two of which differ in half their
bits. Bits are 4 bytes a number and 8 a category where floats over one-hot codes would be 4 bytes a category's value, and
they are compared by XOR. Over them lies a navigable small-world graph (HNSW: Malkov and Yashunin 2020, IEEE TPAMI 42(4)) of
faiss (Douze et al. 2024, arXiv:2401.08281).
"""

import importlib
from typing import Any

import numpy as np
from scipy.linalg import hadamard

from harmonic.errors import BadInput
from harmonic.table.encoding import Encoded

LEVELS = (128, 64, 32)
"""Bits of a number, and half of those of a category: the most that keep a row within MAX_BITS, or the last."""
MAX_BITS = 1024
DRAWN = 4096
"""Codes of a column with more values than there are Hadamard rows: drawn ones, alike for one pair of values in so many."""
LINKS, BUILD_WIDTH, SEARCH_WIDTH = 16, 100, 128
"""Of the graph: links of a row, and how many candidates are kept while it is built and while it is searched."""
CHUNK_ROWS = 50_000
"""Rows turned into bits at a time: an unpacked bit takes a byte."""


class RowIndex:
    """Fixed rows, ready to be asked for those near others.

    Built on one thread in the order of the rows, whatever the threads that search it: the same rows give the same index.

    Args:
        references: n rows.

    Raises:
        BadInput: faiss is not installed.
    """

    def __init__(self, references: Encoded) -> None:
        faiss = _faiss()
        self._nullable = np.isnan(references.numbers).any(axis=0)
        self._levels = next((levels for levels in LEVELS if self._width(levels, references) <= MAX_BITS), LEVELS[-1])
        bits = 2 * self._levels
        self._drawn = [bool(column.min() < -1 or column.max() > bits - 2) for column in references.codes.T]
        self._codes = hadamard(bits) > 0
        self._drawn_codes = np.random.default_rng(0).random((DRAWN, bits)) < 0.5
        self._graph = faiss.IndexBinaryHNSW(8 * self._bits(references[:1]).shape[1], LINKS)
        self._graph.hnsw.efConstruction = BUILD_WIDTH
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            for start in range(0, len(references), CHUNK_ROWS):
                self._graph.add(self._bits(references[start : start + CHUNK_ROWS]))
        finally:
            faiss.omp_set_num_threads(threads)

    @property
    def is_rough(self) -> bool:
        """Whether columns with many values make its distances so inexact that more candidates are needed."""
        return any(self._drawn)

    def candidates(self, queries: Encoded, count: int) -> np.ndarray:
        """Rows near each query, the query itself among them where it is one; int64, shape (m, count), -1 for none."""
        self._graph.hnsw.efSearch = max(SEARCH_WIDTH, count)
        return self._graph.search(self._bits(queries), count)[1]

    def _width(self, levels: int, rows: Encoded) -> int:
        return levels * rows.numbers.shape[1] + levels // 2 * int(self._nullable.sum()) + 2 * levels * rows.codes.shape[1]

    def _bits(self, rows: Encoded) -> np.ndarray:
        """uint8, shape (m, bytes), bytes a multiple of 8.

        An empty number stands in the middle, with bits of its own: half the range to the whole of it from any other.
        """
        levels = self._levels
        empty = np.isnan(rows.numbers)
        marks = np.rint(np.clip(np.where(empty, 0.5, rows.numbers), 0, 1) * levels).astype(np.int64)
        parts = [marks[:, place, None] > np.arange(levels) for place in range(marks.shape[1])]
        parts += [np.repeat(empty[:, place, None], levels // 2, axis=1) for place in np.flatnonzero(self._nullable)]
        for codes, drawn in zip(rows.codes.T, self._drawn, strict=True):
            parts.append(self._drawn_codes[codes % DRAWN] if drawn else self._codes[(codes + 1) % (2 * levels)])
        packed = np.packbits(np.concatenate(parts, axis=1), axis=1)
        return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise BadInput(
            "neighbours of so many rows are looked for approximately, which needs faiss, but it is not installed: "
            "pip install -e '.[large]', cap training.max_steps or method.max_instructions, or set "
            "method.neighbour_search=exact."
        ) from None
