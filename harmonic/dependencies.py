"""Which columns say one thing together: a code and its name, a town and its district."""

import itertools

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SURE = 0.99
"""From this much of Goodman and Kruskal's lambda on, a column determines another."""
ROWS = 50_000
"""Rows that are looked at, evenly over the table."""


def linked_columns(table: pd.DataFrame) -> np.ndarray:
    """The number of each column's group, int64, shape (columns,), counted from 0 by first column.

    Two columns are in one group where one determines the other, or where a chain of such pairs leads from one to the other.
    """
    seen = table.iloc[:: max(1, len(table) // ROWS)]
    codes = [pd.factorize(seen[name], use_na_sentinel=False)[0].astype(np.int64) for name in seen]
    both = itertools.permutations(range(len(codes)), 2)
    pairs = [(known, wanted) for known, wanted in both if _lambda(codes[known], codes[wanted]) >= SURE]
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (edges[0], edges[1])), shape=(len(codes), len(codes)))
    return pd.factorize(connected_components(graph, directed=False)[1])[0].astype(np.int64)


def _lambda(known: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the errors in guessing `wanted` that knowing `known` takes away (Goodman and Kruskal 1954).

    A value of `known` that occurs once tells nothing: its row is guessed wrong.
    """
    least = len(wanted) - np.bincount(wanted).max()
    if not least:
        return 0.0
    pairs, counts = np.unique(known * (wanted.max() + 1) + wanted, return_counts=True)
    most = np.zeros(known.max() + 1, dtype=np.int64)
    np.maximum.at(most, pairs // (wanted.max() + 1), counts)
    return float(1 - (len(wanted) - most[most > 1].sum()) / least)
