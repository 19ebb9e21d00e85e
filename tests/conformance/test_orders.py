"""The order that every metric must give to the controls. Oracle: what was done to each of them (`baselines.controls`).

A metric that ranks them wrongly is wrong, whatever library it comes from. `copy` is train, `holdout` are real rows nobody
trained on, `noisy_*` train rows with growing noise, `half_copy` half of it train.
"""

import itertools
from dataclasses import dataclass
from functools import cache

import pytest

from tests.conformance.controls import CONTROLS, built, single_metrics


@dataclass(frozen=True)
class Order:
    """A claim about one score."""

    metric: str
    """Its YAML."""
    key: str
    falling: str
    """Controls from the greatest value to the least; each of a group exceeds each of the next by `margin`."""
    margin: float = 0.02


@dataclass(frozen=True)
class Ideal:
    """A claim that some controls meet a score's ideal."""

    metric: str
    key: str
    controls: str
    value: float | str
    """A number, or the key of a reference."""
    within: float


CLAIMS = [
    # utility: real rows teach; noise, and the loss of the relation to the target, take it away
    Order("mle", "mle_f1_macro", "copy holdout noisy_slight > noisy_much > majority"),
    Order("mle", "mle_auc", "copy holdout noisy_slight half_copy > noisy_much > independent shuffled_target majority"),
    Order("mle", "mle_mcc", "copy holdout noisy_slight > noisy_much > majority"),
    Ideal("mle", "mle_f1_weighted", "majority", "mle_majority_f1_weighted", 1e-9),
    # distance: nearness to train falls with noise; fresh rows are at the hold-out's value, whatever it is
    Order("dcr", "dcr_mean", "noisy_much > noisy_some > noisy_slight > copy"),
    Order("dcr", "dcr_mean", "independent > holdout > copy"),
    Order("dcr", "dcr_share", "copy noisy_slight > noisy_some half_copy > noisy_much holdout independent"),
    Order("dcr", "dcr_tail_excess", "copy > noisy_slight half_copy > noisy_much holdout independent"),
    Order("dcr", "dcr_copies_excess", "copy > half_copy > noisy_slight noisy_some noisy_much holdout independent"),
    Ideal("dcr", "dcr_share", "holdout independent", 0.5, 0.06),
    Ideal("dcr", "dcr_mean", "holdout", "dcr_holdout_mean", 0.05),
    Ideal("dcr", "dcr_tail", "holdout", "dcr_tail_holdout", 0.02),
    Ideal("dcr", "dcr_tail5", "holdout", "dcr_tail5_holdout", 0.03),
    Ideal("dcr", "dcr_copies_excess", "holdout independent noisy_much", 0.0, 1e-9),
    Order("nndr", "nndr_mean", "noisy_much > noisy_some > noisy_slight > copy"),
    Order("nndr", "nndr_tail_excess", "copy > half_copy > noisy_much holdout independent"),
    Ideal("nndr", "nndr_mean", "holdout", "nndr_holdout_mean", 0.02),
    Order("nrs", "nrs", "holdout independent noisy_slight noisy_much > half_copy > copy"),
    # the paper's forms: an order, but no ideal: farther is better, and noise is best
    Order("dcr_published", "dcr_published", "independent > holdout > noisy_slight > copy"),
    # fidelity: independent columns have every shape and no relation
    Order("fidelity", "shapes", "copy holdout independent shuffled_target > majority"),
    Order("fidelity", "pair_trends", "copy holdout noisy_slight > noisy_much > independent", 0.01),
    Order("fidelity", "mi_error", "independent > noisy_much > copy holdout noisy_slight", 0.005),
    Ideal("fidelity", "shapes", "copy holdout independent", "shapes_real", 0.03),
    Ideal("fidelity", "mi_error", "copy holdout", "mi_error_real", 0.01),
    Order("c2st", "c2st_auc", "independent > noisy_much majority > noisy_some > copy holdout"),
    Ideal("c2st", "c2st_auc", "copy holdout", 0.5, 0.06),
    Order("manifold", "beta_recall", "copy holdout noisy_slight > noisy_much > independent"),
    Ideal("manifold", "beta_recall", "copy holdout", "beta_recall_real", 0.08),
    Ideal("manifold", "alpha_precision", "copy holdout", "alpha_precision_real", 0.08),
    Ideal("validity", "validity_cells", " ".join(CONTROLS), 1.0, 1e-9),
    # attacks: what is known of train falls with noise; nothing is known from rows that never saw it
    Order("mia", "mia_auc", "copy noisy_slight > noisy_some half_copy > noisy_much independent holdout"),
    Order("mia", "mia_tpr1", "copy > half_copy > noisy_much independent holdout"),
    Ideal("mia", "mia_auc", "holdout independent", 0.5, 0.05),
]
"""One line a claim; every metric of `conf/metrics` stands here, or in `ELSEWHERE`."""
ELSEWHERE = {
    "dlt": "test_likelihoods.py: it asks the generator, not its rows",
    "dlt_published": "test_likelihoods.py",
    "prompt_copy": "tests/metrics/attacks/test_prompt_copy.py: it needs prompts",
    "canaries": "tests/metrics/attacks/test_canaries.py: it fits the generator anew",
    "lle": "tests/metrics/test_llm_utility.py: half a minute a table",
    "lle_published": "tests/metrics/test_llm_utility_published.py: its model is not at hand",
    "mle_published": "off its own scale (HARMONIC §5), so that no order is asked of it",
    "nrs_published": "tests/metrics/test_distance.py: ten seconds a table",
    "anonymeter": "tests/metrics/attacks/test_anonymeter.py: an extra",
}


@pytest.fixture(scope="module")
def score(split, control):
    """(metric, control) to scores, each computed once."""

    @cache
    def scores(metric: str, name: str) -> dict[str, float]:
        return built(metric)(split, control(name), seed=0)

    return scores


def label(claim: Order | Ideal) -> str:
    return f"{claim.key}-{'order' if isinstance(claim, Order) else 'ideal'}"


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if isinstance(claim, Order)], ids=label)
def test_the_controls_in_their_order(claim, score):
    """Oracle: the claim, made before the score."""
    groups = [{name: score(claim.metric, name)[claim.key] for name in group.split()} for group in claim.falling.split(">")]
    for above, below in itertools.pairwise(groups):
        assert min(above.values()) > max(below.values()) + claim.margin, groups


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if isinstance(claim, Ideal)], ids=label)
def test_the_ideal_is_met_by_what_is_ideal(claim, score):
    """Oracle: the claim: fresh real rows, and whatever else is known to be without the fault."""
    for name in claim.controls.split():
        scores = score(claim.metric, name)
        ideal = scores[claim.value] if isinstance(claim.value, str) else claim.value
        assert abs(scores[claim.key] - ideal) <= claim.within, (name, scores[claim.key], ideal)


def test_every_metric_makes_a_claim():
    """Oracle: the YAMLs."""
    assert {claim.metric for claim in CLAIMS} | set(ELSEWHERE) == single_metrics()


def test_a_claim_can_fail(score):
    """Oracle: an order turned round is refused, and an ideal moved."""
    with pytest.raises(AssertionError):
        test_the_controls_in_their_order(Order("dcr", "dcr_share", "holdout > copy"), score)
    with pytest.raises(AssertionError):
        test_the_ideal_is_met_by_what_is_ideal(Ideal("dcr", "dcr_share", "copy", 0.5, 0.06), score)
