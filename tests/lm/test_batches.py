"""The plan of a run and its batches. Oracles: invariants, repetition, and a batch laid out by hand."""

import copy
import itertools
from collections import Counter

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


def differing(first, second):
    """At how many places of the shorter plan the two differ; two swaps of a largest batch change three places at most."""
    return sum(not same([a], [b]) for a, b in zip(first, second, strict=False))


@pytest.mark.parametrize("batch_size", [1, 4, 16, 64])
def test_each_instruction_once_per_epoch(batch_size):
    """Oracle: invariant; no batch is larger than asked."""
    batches = plan_batches(LENGTHS, Training(epochs=3, batch_size=batch_size), seed=1)
    assert len(batches) == 3 * -(-45 // batch_size)
    assert Counter(epoch for epoch, _ in batches) == dict.fromkeys(range(3), -(-45 // batch_size))
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
    assert max(epoch for epoch, _ in long) == (20 * accumulate - 1) // 12
    assert len(plan_batches(LENGTHS, Training(min_steps=2, **recipe), seed=0)) == 12


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_large_table_ends_when_the_steps_are_done(accumulate):
    """Oracle: by hand. 12 batches an epoch, 36 in all; the start is the same as without an end, but for the swap."""
    recipe = {"batch_size": 4, "accumulate": accumulate, "epochs": 3}
    whole = plan_batches(LENGTHS, Training(**recipe), seed=0)
    cut = plan_batches(LENGTHS, Training(max_steps=5, **recipe), seed=0)
    assert len(cut) == 5 * accumulate
    assert differing(cut, whole) <= 3
    assert same(plan_batches(LENGTHS, Training(max_steps=99, **recipe), seed=0), whole)


def test_the_seed_decides_the_plan():
    """Oracle: repetition; seeds 0, 1 and 2 differ from each other, and so do epochs."""
    recipe = Training(epochs=2, batch_size=4)
    plans = [plan_batches(LENGTHS, recipe, seed) for seed in (0, 1, 2, 0)]
    assert same(plans[0], plans[3])
    assert not any(same(a, b) for a, b in itertools.combinations(plans[:3], 2))
    assert not np.array_equal(plans[0][0][1], plans[0][12][1])


def test_a_longer_run_starts_like_a_shorter_one():
    """Oracle: repetition; an epoch's order does not hang on how many follow, but for the swap of the largest batch."""
    short, long = (plan_batches(LENGTHS, Training(epochs=epochs, batch_size=4), 7) for epochs in (1, 4))
    assert differing(short, long) <= 3


@pytest.mark.parametrize("batch_size", [1, 4, 16])
@pytest.mark.parametrize("seed", range(3))
def test_the_largest_batch_comes_first(batch_size, seed):
    """Oracle: the maximum over all batches of rows times the longest row; what fits in memory at first fits ever after."""
    batches = plan_batches(LENGTHS, Training(epochs=3, batch_size=batch_size), seed)
    sizes = [len(rows) * LENGTHS[rows].max() for _, rows in batches]
    assert sizes[0] == max(sizes)
    assert min(sizes) < sizes[0]


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
    """Oracle: laid out by hand. Rows of 5 and 6 tokens; answers begin behind one and four, and are seen a place earlier."""
    batch, one, pad, eos = batch_by_hand(easy_encoder, "answer")
    assert batch["input_ids"].tolist() == [[*one('"', "7", "8", "}"), eos, pad], [*one('"', "1", "2", "3", "}"), eos]]
    assert batch["lengths"].tolist() == [5, 6]
    assert batch["places"].tolist() == [0, 1, 2, 3, 4]
    seven, eight, close = one("7", "8", "}")
    assert batch["labels"].tolist() == [
        [seven, eight, close, eos, IGNORED],
        [IGNORED, IGNORED, IGNORED, close, eos],
    ]


def test_places_between_the_answers_are_left_out(easy_encoder):
    """Oracle: by hand. The answers stand at 1 and 2, and at 5 and 6 of their rows: nobody needs places 2 and 3."""
    one = lambda *texts: [easy_encoder.encode([text])[0] for text in texts]  # noqa: E731
    items = [Instruction(['"'], ["7"]), Instruction(['"', "1", "2", "3", "4"], ["}"])]
    batch = collate(items, easy_encoder, Training())
    eos = easy_encoder.tokenizer.eos_token_id
    assert batch["places"].tolist() == [0, 1, 4, 5]
    assert batch["labels"].tolist() == [[*one("7"), eos, IGNORED, IGNORED], [IGNORED, IGNORED, *one("}"), eos]]


def test_loss_on_all_by_hand(easy_encoder):
    """Oracle: by hand. Every token bears a loss but each text's first, which nothing predicts."""
    batch, one, _, eos = batch_by_hand(easy_encoder, "all")
    assert batch["places"].tolist() == [0, 1, 2, 3, 4]
    assert batch["labels"].tolist() == [[*one("7", "8", "}"), eos, IGNORED], [*one("1", "2", "3", "}"), eos]]


def test_the_end_of_sequence_bears_a_loss_even_where_it_pads(easy_encoder):
    """Oracle: by hand. GPT-2 and Llama have no padding token, so the end-of-sequence token pads too."""
    tokenizer = copy.deepcopy(easy_encoder.tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    batch, one, pad, eos = batch_by_hand(SegmentEncoder(tokenizer), "answer")
    assert pad == eos
    assert batch["labels"].tolist()[0] == [*one("7", "8", "}"), eos, IGNORED]
    assert batch["lengths"].tolist() == [5, 6]


def test_labels_are_the_next_tokens(easy_encoder, easy_instructions):
    """Oracle: invariants that the loss relies on: a label is the input a place later, and each answer's count is right."""
    for loss_on in ("answer", "all"):
        items = easy_instructions[:5]
        batch = collate(items, easy_encoder, Training(loss_on=loss_on))
        following = batch["input_ids"][:, batch["places"] + 1]
        bearing = batch["labels"] != IGNORED
        assert torch.equal(batch["labels"][bearing], following[bearing])
        answers = torch.tensor([len(easy_encoder.encode(item.answer)) + 1 for item in items])
        assert torch.equal(bearing.sum(1), answers if loss_on == "answer" else batch["lengths"] - 1)
        assert bearing.any(0).all()  # no logits for nothing
        assert (batch["places"].diff() > 0).all()


def test_a_text_beyond_the_limit_is_an_error(easy_encoder, easy_instructions, one_sentence):
    """Oracle: by hand; the limit itself is allowed, nothing is cut."""
    longest = max(len(easy_encoder.encode([*i.prompt, *i.answer])) + 1 for i in easy_instructions)
    batch = collate(easy_instructions, easy_encoder, Training(max_length=longest))
    assert batch["input_ids"].shape[1] == longest
    with pytest.raises(BadInput) as error:
        collate(easy_instructions, easy_encoder, Training(max_length=longest - 1))
    one_sentence(error.value, f"{longest} tokens", f"max_length={longest - 1}", "method.k", "dataset.drop")
