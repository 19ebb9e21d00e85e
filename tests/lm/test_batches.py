"""The plan of a run and its batches. Oracles: invariants, repetition, and a batch laid out by hand."""

import copy
import itertools

import numpy as np
import pytest
import torch

from harmonic.codec import Instruction
from harmonic.errors import BadInput
from harmonic.lm.batches import IGNORED, WINDOW, Training, collate, plan_batches
from harmonic.lm.segments import SegmentEncoder

LENGTHS = np.random.default_rng(0).integers(100, 900, 45)


def same(first, second):
    return len(first) == len(second) and all(
        a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("batch_size", [1, 4, 16, 64])
def test_each_instruction_once_per_epoch(batch_size):
    """Oracle: invariant; no batch is larger than asked."""
    batches = plan_batches(LENGTHS, Training(epochs=3, batch_size=batch_size), seed=1)
    assert len(batches) == 3 * -(-45 // batch_size)
    assert [epoch for epoch, _ in batches] == sorted(epoch for epoch, _ in batches)
    for epoch in range(3):
        rows = np.concatenate([rows for number, rows in batches if number == epoch])
        assert sorted(rows) == list(range(45))
    assert max(len(rows) for _, rows in batches) <= batch_size


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_small_table_is_repeated_until_the_steps_are_done(accumulate):
    """Oracle: by hand. 12 batches an epoch; 20 steps are more than one epoch, 2 are fewer."""
    recipe = {"batch_size": 4, "accumulate": accumulate}
    long = plan_batches(LENGTHS, Training(min_steps=20, **recipe), seed=0)
    assert len(long) == 20 * accumulate
    assert long[-1][0] == (20 * accumulate - 1) // 12
    assert len(plan_batches(LENGTHS, Training(min_steps=2, **recipe), seed=0)) == 12


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_large_table_ends_when_the_steps_are_done(accumulate):
    """Oracle: by hand. 12 batches an epoch, 36 in all; the start is the same as without an end."""
    recipe = {"batch_size": 4, "accumulate": accumulate, "epochs": 3}
    whole = plan_batches(LENGTHS, Training(**recipe), seed=0)
    cut = plan_batches(LENGTHS, Training(max_steps=5, **recipe), seed=0)
    assert len(cut) == 5 * accumulate
    assert same(cut, whole[: len(cut)])
    assert same(plan_batches(LENGTHS, Training(max_steps=99, **recipe), seed=0), whole)


def test_the_seed_decides_the_plan():
    """Oracle: repetition; seeds 0, 1 and 2 differ from each other, and so do epochs."""
    recipe = Training(epochs=2, batch_size=4)
    plans = [plan_batches(LENGTHS, recipe, seed) for seed in (0, 1, 2, 0)]
    assert same(plans[0], plans[3])
    assert not any(same(a, b) for a, b in itertools.combinations(plans[:3], 2))
    assert not np.array_equal(plans[0][0][1], plans[0][12][1])


def test_a_longer_run_starts_like_a_shorter_one():
    """Oracle: repetition; an epoch's order does not hang on how many follow."""
    short, long = (plan_batches(LENGTHS, Training(epochs=epochs, batch_size=4), 7) for epochs in (1, 4))
    assert same(short, long[: len(short)])


def test_batches_hold_texts_of_like_length():
    """Oracle: the least padding possible within a window, which sorting by length gives; random batches pad far more."""
    lengths = np.random.default_rng(0).integers(1, 1000, 4 * WINDOW)
    batches = plan_batches(lengths, Training(batch_size=4), seed=0)
    spread = np.mean([np.ptp(lengths[rows]) for _, rows in batches])
    assert spread < 60
    firsts = [lengths[rows].mean() for _, rows in batches]
    assert firsts != sorted(firsts)  # the batches themselves come in random order


def batch_by_hand(easy_encoder, loss_on):
    """Two instructions, with each token's text known: `ab` are single bytes, the quote is one token."""
    one = lambda *texts: [easy_encoder.encode([text])[0] for text in texts]  # noqa: E731
    pad, eos = easy_encoder.tokenizer.pad_token_id, easy_encoder.tokenizer.eos_token_id
    items = [Instruction(['"'], ["7", "8", "}"]), Instruction(['"', "1", "2", "3"], ["}"])]
    return collate(items, easy_encoder, Training(loss_on=loss_on)), one, pad, eos


def test_a_batch_by_hand(easy_encoder):
    """Oracle: laid out by hand. Answers stand flush right; positions start at each text's own first token."""
    batch, one, pad, eos = batch_by_hand(easy_encoder, "answer")
    assert batch["input_ids"].tolist() == [[pad, *one('"', "7", "8", "}"), eos], [*one('"', "1", "2", "3", "}"), eos]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1, 1, 1, 1], [1] * 6]
    assert batch["position_ids"].tolist() == [[0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]
    assert batch["labels"].tolist() == [[*one("7", "8", "}"), eos], [IGNORED, IGNORED, *one("}"), eos]]


def test_loss_on_all_by_hand(easy_encoder):
    """Oracle: by hand. Every token bears a loss but each text's first, which nothing predicts."""
    batch, one, _, eos = batch_by_hand(easy_encoder, "all")
    assert batch["labels"].tolist() == [[IGNORED, *one("7", "8", "}"), eos], [*one("1", "2", "3", "}"), eos]]


def test_the_end_of_sequence_bears_a_loss_even_where_it_pads(easy_encoder):
    """Oracle: by hand. GPT-2 and Llama have no padding token, so the end-of-sequence token pads too."""
    tokenizer = copy.deepcopy(easy_encoder.tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    batch, one, pad, eos = batch_by_hand(SegmentEncoder(tokenizer), "answer")
    assert pad == eos
    assert batch["labels"].tolist()[1] == [IGNORED, IGNORED, *one("}"), eos]
    assert batch["attention_mask"].tolist()[0] == [0, 1, 1, 1, 1, 1]


def test_labels_are_the_last_tokens(easy_encoder, easy_instructions):
    """Oracle: invariant that the loss relies on: the label at the end is the input at the end."""
    for loss_on in ("answer", "all"):
        batch = collate(easy_instructions[:5], easy_encoder, Training(loss_on=loss_on))
        labels, ids = batch["labels"], batch["input_ids"][:, -batch["labels"].shape[1] :]
        assert torch.equal(labels[labels != IGNORED], ids[labels != IGNORED])
        assert (labels != IGNORED).any(1).all()


def test_a_text_beyond_the_limit_is_an_error(easy_encoder, easy_instructions, one_sentence):
    """Oracle: by hand; the limit itself is allowed, nothing is cut."""
    longest = max(len(easy_encoder.encode([*i.prompt, *i.answer])) + 1 for i in easy_instructions)
    batch = collate(easy_instructions, easy_encoder, Training(max_length=longest))
    assert batch["input_ids"].shape[1] == longest
    with pytest.raises(BadInput) as error:
        collate(easy_instructions, easy_encoder, Training(max_length=longest - 1))
    one_sentence(error.value, f"{longest} tokens", f"max_length={longest - 1}", "method.k", "dataset.drop")
