"""Membership inference: can anybody tell which rows a generator was trained on. The strongest attack is the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from harmonic.errors import BadInput, check_count
from harmonic.metrics.attacks.audit import Audit
from harmonic.metrics.attacks.classifier import classifier
from harmonic.metrics.attacks.density import domias, gen_lra
from harmonic.metrics.attacks.digits import levatt
from harmonic.metrics.attacks.distance import distance, distance_difference
from harmonic.metrics.attacks.likelihood import loss, min_k, reference_loss
from harmonic.metrics.intervals import auc, auc_interval, hit_rate_interval
from harmonic.metrics.rows import check_rows
from harmonic.seed import derive_seed
from harmonic.table import Split

ON_TABLE: tuple[Callable[[Audit], np.ndarray | None], ...] = (
    distance,
    distance_difference,
    domias,
    gen_lra,
    classifier,
    levatt,
)
"""Attacks that hold the synthetic table, and some of them validation rows."""
ON_MODEL: tuple[Callable[[Audit], np.ndarray | None], ...] = (loss, min_k, reference_loss)
"""Attacks that hold the generator too."""
CONFIDENCE = 0.95
LEAST = 10
"""Rows of train and of test; of fewer, a bootstrap knows next to nothing."""
DEALS = 200
"""Of members and others at random, for what chance gives."""
FALSE_ALARMS = {"tpr1": 0.01, "tpr10": 0.1}


@dataclass(frozen=True)
class MembershipInference:
    """Membership inference attacks (MIA): how well the best of several attacks tells train rows from other real rows.

    Definition. Candidates are rows of train (members) and as many of `split.test` (no members), drawn at random. Every
    attack gives each candidate a score from what it may hold: the synthetic table, validation rows as a sample of the
    population, and for a generator with `log_likelihood` the generator itself. An attack without matter is left out:
    `levatt` without number columns, the likelihood attacks without likelihoods, `reference_loss` without `start`.

    * `mia_auc`: the greatest area under the ROC curve over all attacks, 0 to 1; chance .5, greater means leakage.
    * `mia_tpr1`, `mia_tpr10`: the greatest share of members found at a threshold that at most 1 % or 10 % of the others
      pass. A leak of few rows shows here before it shows in the area. Chance is .01 and .1 of many candidates; of m members
      and others (⌊m/100⌋ + 1) / (m + 1), .015 of 200.
    * `mia_auc_chance`, `mia_tpr1_chance`, `mia_tpr10_chance`: what the three are on average where membership means nothing,
      since the greatest of several attacks lies above the chance of one: candidates keep the scores that all attacks gave
      them, and members are drawn from among them anew, `DEALS` times. `…_chance_high`: what 5 % of the deals exceed.
    * `mia_<attack>_auc`, `mia_<attack>_tpr1`, `mia_<attack>_tpr10`: the same of one attack: `distance`,
      `distance_difference`, `domias`, `gen_lra`, `classifier`, `levatt`, `loss`, `min_k`, `reference_loss`.
    * `…_low`, `…_high`: intervals that hold together with 95 % over all attacks (each at 1 - .05 / their number): a
      bootstrap over candidates for areas, exact ones for shares, which know that their threshold is drawn, too
      (`hit_rate_interval`). Those of a maximum are the greatest low and the greatest high of its attacks, so the maximum of
      noise stays within them. Fewer than some 500 others say nothing of a rate of 1 %, and the low end is 0.
    * `mia_attacks`: how many there were.

    Why the maximum: no attack is the strongest everywhere, and a table is as private as its strongest attacker leaves it. An
    area below .5 is no protection: it says that the attack's idea of a member is wrong there.

    What it cannot see: an attacker with better means (shadow models, other tables); leakage of values rather than of
    presence. Train and test must be one population, or their difference passes for membership. The attacks on distances are
    as blind as DCR to columns whose range one value sets.

    Source: Ward et al. 2025, *Synth-MIA: a testbed for auditing privacy leakage in tabular data synthesis*, for the maximum;
    Carlini et al. 2022, *Membership inference attacks from first principles*, for low false alarms; each attack names its
    own.
    """

    version = 3
    """1 took the threshold of a share for known: intervals of shares in records of before are too narrow. 3: also tells what
    chance gives."""
    max_members: int = 5000
    """Members at most, and as many others."""
    max_scored: int = 500
    """The same for attacks on the generator, which a language model must read."""

    def __post_init__(self) -> None:
        for option in ("max_members", "max_scored"):
            check_count(f"metrics.mia.{option}", getattr(self, option), 2)

    def __call__(self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: Any = None) -> dict[str, float]:
        """Areas and shares by key; see the class.

        Raises:
            BadInput: fewer than `LEAST` rows of train or of test.
        """
        rows = check_rows(split, synthetic, "mia")
        few = min(len(split.train), len(split.test))
        if few < LEAST:
            raise BadInput(f"mia must have {LEAST} rows or more of train and of test, but has {few}: leave it out.")
        audit = Audit.draw(split, rows, synthesizer, self.max_members, derive_seed(seed, "mia"))
        scores: dict[str, np.ndarray] = {}
        for attacks, given in ((ON_TABLE, audit), (ON_MODEL, audit.first(self.max_scored))):
            for attack in attacks:
                found = attack(given)
                if found is not None:
                    scores[attack.__name__] = found
        return judge(scores, derive_seed(seed, "mia", "bootstrap"))


def judge(scores: dict[str, np.ndarray], seed: int) -> dict[str, float]:
    """Areas, shares and intervals from each attack's scores, members first, and the maxima; see `MembershipInference`."""
    confidence = 1 - (1 - CONFIDENCE) / len(scores)
    result: dict[str, float] = {}
    for name, score in scores.items():
        members, others = np.split(score, 2)
        rng = np.random.default_rng(derive_seed(seed, name))
        bounds = auc_interval(members, others, rng, confidence)
        result |= _keys(f"mia_{name}_auc", auc(members, others), bounds)
        for key, rate in FALSE_ALARMS.items():
            hits = float((members > threshold(others, rate)).mean())
            result |= _keys(f"mia_{name}_{key}", hits, hit_rate_interval(members, others, rate, confidence))
    strongest = {
        f"mia_{key}{end}": max(result[f"mia_{name}_{key}{end}"] for name in scores)
        for key in ("auc", *FALSE_ALARMS)
        for end in ("", "_low", "_high")
    }
    return {**strongest, **by_chance(scores, seed), "mia_attacks": float(len(scores)), **result}


def by_chance(scores: dict[str, np.ndarray], seed: int) -> dict[str, float]:
    """The maxima where members are drawn at random from the candidates: `mia_<…>_chance` and `…_chance_high`.

    Attacks with as many candidates have the same ones, and are dealt together: what they have in common stays.
    """
    rng = np.random.default_rng(derive_seed(seed, "chance"))
    found: dict[str, list[float]] = {"auc": [], **{key: [] for key in FALSE_ALARMS}}
    ranks = [rankdata(score) for score in scores.values()]  # whose order is all that the maxima hang on
    for _ in range(DEALS):
        deals = {size: rng.permutation(size) for size in dict.fromkeys(map(len, ranks))}
        dealt = [np.split(own[deals[len(own)]], 2) for own in ranks]
        found["auc"].append(max((own.sum() / len(own) - (len(own) + 1) / 2) / len(own) for own, _ in dealt))
        for key, rate in FALSE_ALARMS.items():
            found[key].append(max(float((own > threshold(others, rate)).mean()) for own, others in dealt))
    means = {f"mia_{key}_chance": float(np.mean(values)) for key, values in found.items()}
    return means | {f"mia_{key}_chance_high": float(np.quantile(values, CONFIDENCE)) for key, values in found.items()}


def threshold(others: np.ndarray, rate: float) -> float:
    """The least score that at most this share of the others exceed."""
    descending = np.sort(others)[::-1]
    return float(descending[int(rate * len(others))])


def _keys(key: str, value: float, bounds: tuple[float, float]) -> dict[str, float]:
    return {key: value, f"{key}_low": bounds[0], f"{key}_high": bounds[1]}
