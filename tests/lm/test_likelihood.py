"""Likelihood of cells. Oracles: one unpadded forward pass per row, and probabilities that sum to one."""

import numpy as np
import pytest
import torch

from harmonic.codec import CLOSE, QUOTE
from harmonic.lm import likelihood
from harmonic.lm.grammar import FAR, Grammar
from harmonic.lm.likelihood import Scored, cell_log_likelihoods
from harmonic.training import Compute

CPU = Compute("cpu", "32-true")


@pytest.fixture(scope="module")
def rows(easy_codec, easy_table, easy_instructions):
    cells = easy_codec.cells(easy_table)[2:12]
    keys = [easy_codec.key(place, first=place == 0) for place in range(6)]
    return [
        Scored(item.prompt[place % 3 * 4 :], keys, row, list(range(6)))
        for place, (item, row) in enumerate(zip(easy_instructions, cells, strict=False))
    ]


def by_hand(model, encoder, row):
    """Each cell from one forward pass over the whole text, token by token."""
    ids, spans = encoder.encode(row.prompt), []
    for key, value in zip(row.keys, row.values, strict=True):
        ids += encoder.encode([key])
        start = len(ids)
        ids += encoder.encode([value, QUOTE])
        spans.append((start, len(ids)))
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return [sum(float(logits[place - 1, ids[place]]) for place in range(*span)) for span in spans]


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_against_one_pass_per_row(rows, tiny_model, easy_encoder, name):
    """Oracle: a forward pass without padding."""
    model = tiny_model(name, len(easy_encoder.tokenizer))
    found = cell_log_likelihoods(model, easy_encoder, rows.__getitem__, len(rows), CPU)
    wanted = [by_hand(model, easy_encoder, row) for row in rows]
    assert found.shape == (10, 6)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert np.ptp(found) > 1


def test_batches_do_not_matter(rows, tiny_model, easy_encoder, monkeypatch):
    """Oracle: rows one by one."""
    model = tiny_model("llama", len(easy_encoder.tokenizer))
    together = cell_log_likelihoods(model, easy_encoder, rows.__getitem__, len(rows), CPU)
    monkeypatch.setattr(likelihood, "BATCH_TOKENS", 1)
    alone = cell_log_likelihoods(model, easy_encoder, rows.__getitem__, len(rows), CPU)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_probabilities_of_one_token_values_sum_to_one(tiny_model, easy_encoder, rows):
    """Oracle: the axioms: over all first tokens a value can have, with the quote left out of the sum by dividing it away."""
    model = tiny_model("llama", len(easy_encoder.tokenizer))
    row = rows[0]
    ids = torch.tensor([[*easy_encoder.encode(row.prompt), *easy_encoder.encode([row.keys[0]])]])
    with torch.inference_mode():
        first = model(input_ids=ids).logits[0, -1].double().softmax(-1)
    digit = easy_encoder.encode(["7"])[0]
    quote = easy_encoder.encode([QUOTE])[0]
    with torch.inference_mode():
        then = model(input_ids=torch.cat([ids, torch.tensor([[digit]])], 1)).logits[0, -1].double().softmax(-1)[quote]
    scored = Scored(row.prompt, row.keys[:1], ["7"], [0])
    found = cell_log_likelihoods(model, easy_encoder, lambda _: scored, 1, CPU)
    assert found[0, 0] == pytest.approx(float((first[digit] * then).log()), abs=1e-3)
    assert float(first.sum()) == pytest.approx(1)


def test_a_learnt_model_knows_its_rows(learnt, easy_table):
    """Oracle: what the table says: a label is one of two, so a model that has learnt it spends about a bit and no more; the
    same row in other columns' places is far less likely."""
    nats = learnt.log_likelihood(easy_table, seed=0, own=np.arange(len(easy_table)))
    assert nats.shape == (40, 6)
    assert (nats <= 0).all()
    bits = -nats.mean(axis=0) / np.log(2)
    names = list(easy_table.columns)
    assert bits[names.index("label")] < 1.5
    assert bits[names.index("member")] < 1.5
    assert bits[names.index("size")] > bits[names.index("label")]


def test_columns_stand_in_schema_order(learnt, easy_table, monkeypatch):
    """Oracle: a forward pass over each row in its own order, and the keys, which say whose value follows."""
    seen = []

    def spy(model, encoder, row, n, compute, grammar):
        seen[:] = [row(number) for number in range(n)]
        assert grammar is None
        return cell_log_likelihoods(model, encoder, row, n, compute)

    keys = [learnt.codec.key(place, first=first) for first in (True, False) for place in range(6)]
    monkeypatch.setattr("harmonic.method.harmonic.cell_log_likelihoods", spy)
    monkeypatch.setattr(learnt, "compute", CPU)
    for settings in ({"own": np.arange(10)}, {"without_examples": True}):
        found = learnt.log_likelihood(easy_table[:10], seed=0, **settings)
        orders = [[keys.index(key) % 6 for key in item.keys] for item in seen]
        assert orders == [list(item.columns) for item in seen]
        assert len({tuple(order) for order in orders}) > 3
        for row, item, order in zip(found, seen, orders, strict=True):
            np.testing.assert_allclose(row[order], by_hand(learnt.model, learnt.encoder, item), atol=1e-3)
    assert "Example one: " in seen[-1].prompt[-1]
    assert len(seen[-1].prompt) == 3


def test_a_row_is_never_shown_with_itself(learnt, easy_table):
    """Oracle: row numbers; a new row that equals a train row is shown with it, as any new row would be."""
    own = np.arange(len(easy_table))
    assert not (learnt.nearest_train_rows(easy_table, own) == own[:, None]).any()
    assert (learnt.nearest_train_rows(easy_table)[:, 0] == own).all()
    assert CLOSE == "}"


def test_under_masks_against_a_pass_with_masks_by_hand(rows, tiny_model, easy_codec, easy_encoder):
    """Oracle: each token's probability among those that the grammar allows there, from one pass without padding."""
    model = tiny_model("llama", len(easy_encoder.tokenizer))
    grammar = Grammar.compile(easy_codec, easy_encoder)
    found = cell_log_likelihoods(model, easy_encoder, rows.__getitem__, len(rows), CPU, grammar)
    free = cell_log_likelihoods(model, easy_encoder, rows.__getitem__, len(rows), CPU)
    for row, cells, without in zip(rows, found, free, strict=True):
        ids = easy_encoder.encode(row.prompt)
        for place, (key, value) in enumerate(zip(row.keys, row.values, strict=True)):
            ids += easy_encoder.encode([key])
            wanted = 0.0
            state = grammar.starts[place]
            for token in easy_encoder.encode([value, QUOTE]):
                with torch.inference_mode():
                    logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double()
                allowed = grammar.tokens[grammar.bounds[state] : grammar.bounds[state + 1]]
                targets = grammar.targets[grammar.bounds[state] : grammar.bounds[state + 1]]
                live = allowed[grammar.distances[targets] < FAR].tolist()
                wanted += float(logits[token] - torch.logsumexp(logits[live], 0))
                state = int(targets[allowed.tolist().index(token)])
                ids.append(token)
            assert cells[place] == pytest.approx(wanted, abs=1e-3)
            assert cells[place] > without[place]


def test_a_cell_that_the_masks_forbid_has_no_likelihood_at_all(rows, tiny_model, easy_codec, easy_encoder):
    """Oracle: the grammar: 100 is beyond the column's range; the cells beside it keep theirs."""
    model = tiny_model("llama", len(easy_encoder.tokenizer))
    grammar = Grammar.compile(easy_codec, easy_encoder)
    row = Scored(rows[0].prompt, rows[0].keys, ["100", *rows[0].values[1:]], rows[0].columns)
    found = cell_log_likelihoods(model, easy_encoder, lambda number: row, 1, CPU, grammar)[0]
    assert np.isneginf(found).tolist() == [True, *[False] * 5]
