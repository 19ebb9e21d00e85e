"""Published DLT. Oracles: hand computation with a generator whose perplexities are known, and token-by-token scoring."""

import numpy as np
import pandas as pd
import pytest

from harmonic.errors import BadInput
from harmonic.metrics.leakage_published import PublishedDataLeakageTest, published_text
from harmonic.table import Split
from harmonic.table.infer import infer_schema

NAMES = ["size", "colour", "y"]


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": rng.integers(0, 9, 60) / 2, "colour": rng.choice(["red", "blue"], 60), "y": rng.choice([0, 1], 60)}
    )
    parts = (frame[:30], frame[30:40], frame[40:])
    return Split("toy", infer_schema(frame), *(part.reset_index(drop=True) for part in parts))


class Spells:
    """A generator that finds every token of a text with red in it `red` nats likely, others `blue`."""

    def __init__(self, red=2.0, blue=1.0):
        self.red, self.blue = red, blue
        self.texts = []

    def text_log_likelihoods(self, texts):
        self.texts += texts
        return [np.full(5, -(self.red if "red" in text else self.blue)) for text in texts]


def test_the_text_of_a_row():
    """Oracle: HARMONIC §3: column and value, commas between, a full stop at the end, in any order."""
    assert published_text(NAMES, ["0.5", "red", "1"], [2, 0, 1]) == "y 1, size 0.5, colour red."


def test_two_to_the_power_of_nats(split):
    """Oracle: by hand: rows cost 2**2 or 2**1, so a table's mean is 2 + 2 x its share of red."""
    synthetic = split.train.assign(colour="red")
    score = PublishedDataLeakageTest()(split, synthetic, seed=0, synthesizer=Spells())
    train, test = (2 + 2 * (table["colour"] == "red").mean() for table in (split.train, split.test))
    assert score["dlt_published_train"] == pytest.approx(train)
    assert score["dlt_published_synthetic"] == pytest.approx(4)
    assert score["dlt_published_train_test"] == pytest.approx(train - test)
    assert score["dlt_published_real_synthetic"] == pytest.approx(train - 4)


def test_every_column_once_in_orders_of_their_own(split):
    """Oracle: the columns' names, and repetition."""
    generators = [Spells(), Spells()]
    for generator in generators:
        PublishedDataLeakageTest(max_rows=10)(split, split.train, seed=1, synthesizer=generator)
    texts = generators[0].texts
    assert texts == generators[1].texts
    assert len(texts) == 30
    orders = {tuple(part.split()[0] for part in text.rstrip(".").split(", ")) for text in texts}
    assert len(orders) > 3
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(NAMES))}


def test_a_language_model_scores_each_token_but_the_first(learnt):
    """Oracle: the sum over the model's own softmax, token by token, without a batch."""
    import torch

    texts = ["size 12, label yes.", "day 2024-01-31, rate 3.5, note n."]
    found = learnt.text_log_likelihoods(texts)
    for text, nats in zip(texts, found, strict=True):
        ids = learnt.encoder.encode([text])
        with torch.inference_mode():
            scores = learnt.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        by_hand = [float(scores[place, token]) for place, token in enumerate(ids[1:])]
        assert nats == pytest.approx(by_hand, abs=1e-4)


def test_without_text_likelihoods_no_score_and_bad_rows_one_sentence(split, one_sentence):
    """Oracle: the contract: an empty result; BadInput for a missing column."""
    assert PublishedDataLeakageTest()(split, split.train, seed=0, synthesizer=object()) == {}
    with pytest.raises(BadInput) as error:
        PublishedDataLeakageTest()(split, split.train.drop(columns="colour"), seed=0, synthesizer=Spells())
    one_sentence(error.value, "dlt_published", "'colour'")
