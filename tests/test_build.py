"""From configuration to objects. Oracles: what Hydra makes of the same nodes, and the rule for what a user can cause."""

import pytest
from hydra.utils import instantiate

from harmonic.build import build
from harmonic.errors import BadInput

TRAINING = {"_target_": "harmonic.lm.batches.Training", "batch_size": 3}
NESTED = {
    "_target_": "harmonic.method.Harmonic",
    "k": 3,
    "model": {"_target_": "harmonic.lm.load.Pretrained", "path": "base", "training": TRAINING},
}


@pytest.mark.parametrize("node", [TRAINING, [TRAINING, 5], {"a": {"b": TRAINING}, "c": None}, 7, "text", None])
def test_it_builds_what_hydra_builds(node):
    """Oracle: Hydra's instantiate."""
    assert build(node) == (instantiate(node, _convert_="all") if isinstance(node, (dict, list)) else node)


def test_parts_are_built_first():
    """Oracle: the part, by its own value."""
    assert build(NESTED).backbone.training.batch_size == 3
    assert NESTED["model"]["training"] is TRAINING  # the node is left as it was


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({**TRAINING, "batchsize": 3}, ("harmonic.lm.batches.Training", "batchsize", "batch_size")),
        ({"_target_": "baselines.file.File"}, ("baselines.file.File", "path")),
        ({"_target_": "harmonic.nothing.Here"}, ("harmonic.nothing.Here",)),
        ({"_target_": "harmonic.method.Nothing"}, ("harmonic.method.Nothing",)),
        ({"_target_": "Nothing"}, ("Nothing",)),
    ],
    ids=["option", "missing", "module", "class", "no module"],
)
def test_what_cannot_be_built_is_told(node, words, one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as refused:
        build(node)
    one_sentence(refused.value, *words)


def test_a_constructor_s_own_errors_come_through():
    """Oracle: the error that the constructor raises, a TypeError among them, which is no wrong option."""
    with pytest.raises(BadInput, match=r"method\.k must be a whole number between 1 and 9"):
        build({**NESTED, "k": 99})
    with pytest.raises(TypeError):
        build({"_target_": "fractions.Fraction", "numerator": "many", "denominator": 1})
