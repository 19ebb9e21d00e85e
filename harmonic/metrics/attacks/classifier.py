"""Membership by a classifier that has learnt to tell the synthetic table from the population."""

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from harmonic.metrics.attacks.audit import Audit
from harmonic.seed import derive_seed

TREES = 100


def classifier(audit: Audit) -> np.ndarray:
    """How sure a classifier of synthetic against reference rows is that a candidate is synthetic.

    The trees are grown until every leaf is of one kind, on all rows each: they over-fit on purpose, since a synthetic row
    that is a member's copy then answers for that member alone.

    Source: Hayes et al. 2019, *LOGAN: membership inference attacks against generative models*, the black-box attack with
    auxiliary knowledge; trees in the place of its network suit tables.
    """
    rows = np.concatenate([audit.synthetic_points, audit.reference_points])
    is_synthetic = np.arange(len(rows)) < len(audit.synthetic_points)
    seed = derive_seed(audit.seed, "classifier")
    with threadpool_limits(1):
        forest = ExtraTreesClassifier(TREES, class_weight="balanced", random_state=seed).fit(rows, is_synthetic)
        return forest.predict_proba(audit.candidate_points)[:, 1]
