"""Membership by distance: a generator that repeats its rows puts synthetic rows beside them."""

import numpy as np

from harmonic.metrics.attacks.audit import Audit
from harmonic.neighbours import closest


def distance(audit: Audit) -> np.ndarray:
    """Nearness to the nearest synthetic row, by the distance of DCR.

    Knows the synthetic table alone. It takes rows in dense places for members, whether they are or not.

    Source: Chen et al. 2020, *GAN-Leaks: a taxonomy of membership inference attacks against generative models*, the full
    black-box attack.
    """
    return -closest(audit.candidates, audit.split.encoder.encode(audit.synthetic))[0]


def distance_difference(audit: Audit) -> np.ndarray:
    """Distance to the nearest reference row less that to the nearest synthetic row, in units of their sum: -1 to 1.

    Knows rows of the population besides: what is dense in the population too no longer counts. Without the unit, rows in
    sparse places decide: on an exact copy of adult's train, with a reference of a quarter its size, the area was .75.

    Source: Chen et al. 2020, *GAN-Leaks*, the calibrated attack, with real rows in the place of a reference generator's;
    the unit is ours.
    """
    to_synthetic = -distance(audit)
    to_reference = closest(audit.candidates, audit.split.encoder.encode(audit.split.val))[0]
    total = to_reference + to_synthetic
    return np.divide(to_reference - to_synthetic, total, out=np.zeros(len(total)), where=total > 0)
