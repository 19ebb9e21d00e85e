"""Membership by likelihood: a generator that knows probabilities finds the rows it learnt likelier than others.

These attacks hold the generator itself, not just its table. All of them read the log-likelihood of cells, in the method's
own text form, each row behind its nearest *other* train rows where the method shows any.
"""

from dataclasses import replace

import numpy as np

from harmonic.metrics.attacks.audit import Audit
from harmonic.synthesizer import before_learning

LEAST_LIKELY = 0.2
"""Share of a row's cells that Min-K looks at, one at least."""


def loss(audit: Audit) -> np.ndarray | None:
    """Mean log-likelihood of the row's cells.

    Source: Yeom et al. 2018, *Privacy risk in machine learning: analyzing the connection to overfitting*.
    """
    cells = audit.likelihoods
    return None if cells is None else cells.mean(axis=1)


def min_k(audit: Audit) -> np.ndarray | None:
    """Mean log-likelihood of the row's least likely cells: what no model would guess says most.

    Source: Shi et al. 2024, *Detecting pretraining data from large language models* (Min-K% Prob); cells in the place of
    tokens compare across tokenizers.
    """
    cells = audit.likelihoods
    if cells is None:
        return None
    k = max(1, round(LEAST_LIKELY * cells.shape[1]))
    return np.sort(cells, axis=1)[:, :k].mean(axis=1)


def reference_loss(audit: Audit) -> np.ndarray | None:
    """Mean log-likelihood of the row's cells, less that of the same model before it learnt from train.

    Rows that any model finds easy no longer count. Only for methods that have `start`, and pre-trained weights to speak of.

    Source: Carlini et al. 2021, *Extracting training data from large language models*; Mireshghallah et al. 2022,
    *Quantifying privacy risks of masked language models using membership inference attacks*, for the ratio.
    """
    before = before_learning(audit.synthesizer, audit.split.train, audit.seed)
    if before is None:
        return None
    learnt, unlearnt = audit.likelihoods, replace(audit, synthesizer=before).likelihoods
    return None if learnt is None or unlearnt is None else (learnt - unlearnt).mean(axis=1)
