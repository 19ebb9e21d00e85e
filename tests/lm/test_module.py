"""Fine-tuning. Oracles: the loss computed by hand, and an unbroken run, bit for bit."""

from itertools import pairwise

import numpy as np
import peft
import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from harmonic.errors import BadInput
from harmonic.lm.batches import IGNORED, Training, collate, plan_batches
from harmonic.lm.module import FineTuning, fine_tune, warm_cosine
from harmonic.training import CHECKPOINT, Compute

CPU = Compute("cpu", "32-true", checkpoint_minutes=0)
FAMILIES = ("llama", "gpt2", "qwen3")


@pytest.fixture
def vocabulary(easy_encoder):
    return len(easy_encoder.tokenizer)


def by_hand(model, encoder, instructions, whole):
    """Mean over tokens of -log p, each text read alone, from the logits of every position."""
    losses = []
    for item in instructions:
        prompt = encoder.encode(item.prompt)
        ids = [*prompt, *encoder.encode(item.answer), encoder.tokenizer.eos_token_id]
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        start = 1 if whole else len(prompt)
        losses += [-float(scores[place - 1, ids[place]]) for place in range(start, len(ids))]
    return np.mean(losses)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("loss_on", ["answer", "all"])
def test_the_loss_by_hand(tiny_model, easy_encoder, easy_instructions, vocabulary, family, loss_on):
    """Oracle: cross-entropy by hand, each text alone; so padding changes nothing."""
    model = tiny_model(family, vocabulary)
    lengths = [len(easy_encoder.encode(item.prompt)) for item in easy_instructions]
    chosen = [easy_instructions[place] for place in np.argsort(lengths)[[0, 3, -1]]]
    module = FineTuning(model, Training(), steps=1, seed=0)
    for items in ([chosen[0]], chosen):
        batch = collate(items, easy_encoder, Training(loss_on=loss_on))
        assert (batch["lengths"] < batch["input_ids"].shape[1]).any() == (len(items) > 1)
        loss = module.training_step(batch, 0).item()
        assert loss == pytest.approx(by_hand(model, easy_encoder, items, loss_on == "all"), abs=1e-5)


@pytest.mark.parametrize("loss_on", ["answer", "all"])
def test_the_loss_and_gradient_of_adapters_by_hand(tiny_model, easy_encoder, easy_instructions, vocabulary, loss_on):
    """Oracle: each text alone, without padding: the same loss, and the gradient of the mean over all tokens with a loss."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = peft.get_peft_model(tiny_model("llama", vocabulary), config)
    items, training = easy_instructions[:5], Training(loss_on=loss_on)
    module = FineTuning(model, training, steps=1, seed=0)
    batch = collate(items, easy_encoder, training)
    together = module.training_step(batch, 0)
    assert together.item() == pytest.approx(by_hand(model, easy_encoder, items, loss_on == "all"), abs=1e-5)
    assert module.tokens == sum(len(easy_encoder.encode([*item.prompt, *item.answer])) + 1 for item in items)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(together, trained)
    counts = (batch["labels"] != IGNORED).sum(1)
    alone = [module.training_step(collate([item], easy_encoder, training), 0) for item in items]
    mean = sum(loss * count for loss, count in zip(alone, counts, strict=True)) / counts.sum()
    for found, expected in zip(gradients, torch.autograd.grad(mean, trained), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_attention_is_causal_without_a_mask(
    tiny_model, easy_encoder, easy_instructions, vocabulary, family, precision, monkeypatch
):
    """Oracle: what the attention of torch is called with: a mask would keep it from its faster kernels."""
    calls = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def noting(*arguments, attn_mask=None, is_causal=False, **settings):
        calls.append((attn_mask, is_causal))
        return attend(*arguments, attn_mask=attn_mask, is_causal=is_causal, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noting)
    module = FineTuning(tiny_model(family, vocabulary), Training(), steps=1, seed=0)
    batch = collate(easy_instructions[:3], easy_encoder, Training())
    with Compute("cpu", precision).autocast():
        module.training_step(batch, 0)
    assert calls == [(None, True)] * 2


@pytest.mark.parametrize(
    ("training", "cure"),
    [
        (Training(batch_size=4), "model.training.batch_size=2 model.training.accumulate=2"),
        (Training(batch_size=3, accumulate=4), "model.training.batch_size=2 model.training.accumulate=8"),
        (Training(batch_size=1), "model.training.gradient_checkpointing=true"),
        (Training(batch_size=1, gradient_checkpointing=True), "method.k"),
    ],
)
def test_a_first_batch_that_does_not_fit_names_the_cure(
    tiny_model, vocabulary, easy_encoder, easy_instructions, training, cure, one_sentence
):
    """Oracle: the rule; a later step that runs out of memory is no question of settings, and keeps its own error."""

    def out_of_memory_at(forward):
        model, passes = tiny_model("llama", vocabulary), 0

        def fail(*_):
            nonlocal passes
            passes += 1
            if passes == forward:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

        model.register_forward_pre_hook(fail)
        run(model, easy_encoder, easy_instructions, training)

    for forward in (1, training.accumulate):
        with pytest.raises(BadInput) as error:
            out_of_memory_at(forward)
        one_sentence(error.value, cure)
    with pytest.raises(torch.OutOfMemoryError):
        out_of_memory_at(training.accumulate + 2)


def run(model, encoder, instructions, training, work_dir=None, stop_at=None, error=RuntimeError):
    """Fine-tunes on 11 batches of 4 (an odd number, so that accumulation ends on half a step)."""
    batches = plan_batches(np.arange(len(instructions)), training, seed=3)[:11]
    asked = 0

    def instruct(epoch, number):
        nonlocal asked
        asked += 1
        if stop_at is not None and asked > stop_at:
            raise error("killed")
        return instructions[number]

    losses, _ = fine_tune(model, encoder, batches, instruct, training, CPU, seed=5, work_dir=work_dir)
    return losses, asked


def with_lora(model, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_dropout=0.2, target_modules=["q_proj", "v_proj"])
        return peft.get_peft_model(model, config)


@pytest.fixture
def make(tiny_model, vocabulary):
    return {
        "gpt2": lambda: tiny_model("gpt2", vocabulary, dropout=0.1),
        "lora": lambda: with_lora(tiny_model("llama", vocabulary)),
    }


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("family", ["gpt2", "lora"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("stop_at", [[14], [21, 9]])
def test_a_run_that_was_killed_ends_as_an_unbroken_one(
    make, easy_encoder, easy_instructions, tmp_path, family, accumulate, stop_at
):
    """Oracle: the unbroken run: weights and losses, bit for bit, with dropout; killed once and killed twice."""
    training = Training(epochs=2, batch_size=4, accumulate=accumulate, learning_rate=1e-2, warmup=0.2)
    unbroken = make[family]()
    start = weights(unbroken)
    losses, asked = run(unbroken, easy_encoder, easy_instructions, training)
    assert len(losses) == 11
    assert not equal(start, weights(unbroken))
    for stop in stop_at:
        with pytest.raises(RuntimeError, match="killed"):
            run(make[family](), easy_encoder, easy_instructions, training, tmp_path, stop)
    resumed = make[family]()
    again, asked_again = run(resumed, easy_encoder, easy_instructions, training, tmp_path)
    assert asked_again < asked  # it did not start afresh
    assert again == losses
    assert equal(weights(unbroken), weights(resumed))


def test_dropout_is_active(tiny_model, vocabulary, easy_encoder, easy_instructions):
    """Oracle: the same run without dropout; else the bitwise tests would not test the random stream."""
    training = Training(batch_size=4)
    losses = [
        run(tiny_model("gpt2", vocabulary, dropout=p), easy_encoder, easy_instructions, training)[0] for p in (0.0, 0.1)
    ]
    assert losses[0][0] != losses[1][0]


def test_a_run_killed_after_its_last_batch(make, easy_encoder, easy_instructions, tmp_path):
    """Oracle: the finished run. Nothing is left to train, and nothing is trained twice."""
    training = Training(epochs=2, batch_size=4)
    finished, again = make["gpt2"](), make["gpt2"]()
    losses, _ = run(finished, easy_encoder, easy_instructions, training, tmp_path)
    taken_up, asked = run(again, easy_encoder, easy_instructions, training, tmp_path)
    assert asked == 0
    assert taken_up == losses
    assert equal(weights(finished), weights(again))


@pytest.mark.parametrize("left", [0, 0.5])
def test_a_checkpoint_that_cannot_be_read(make, easy_encoder, easy_instructions, tmp_path, caplog, left):
    """Oracle: the run without one."""
    training = Training(epochs=2, batch_size=4)
    losses, _ = run(make["gpt2"](), easy_encoder, easy_instructions, training, tmp_path)
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: int(left * len(content))])
    again, asked = run(make["gpt2"](), easy_encoder, easy_instructions, training, tmp_path)
    assert again == losses and asked > 0
    assert "cannot be read, and training begins anew" in caplog.text


def test_ctrl_c_is_a_keyboard_interrupt(make, easy_encoder, easy_instructions, tmp_path):
    """Oracle: Python's own; Lightning would end the process with a status of its own. The checkpoint is whole."""
    training = Training(epochs=2, batch_size=4)
    unbroken, resumed = make["gpt2"](), make["gpt2"]()
    losses, _ = run(unbroken, easy_encoder, easy_instructions, training)
    with pytest.raises(KeyboardInterrupt):
        run(make["gpt2"](), easy_encoder, easy_instructions, training, tmp_path, 14, KeyboardInterrupt)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
    assert run(resumed, easy_encoder, easy_instructions, training, tmp_path)[0] == losses
    assert equal(weights(unbroken), weights(resumed))


def test_a_run_that_diverges_ends_there(make, easy_encoder, easy_instructions, tmp_path, one_sentence):
    """Oracle: a rate that no model survives: one sentence at the first loss that is no number; no checkpoint has one."""
    training = Training(batch_size=4, learning_rate=1e30, clip=0.0)
    with pytest.raises(BadInput, match=r"fine-tuning has diverged: loss \d is no number") as caught:
        run(make["gpt2"](), easy_encoder, easy_instructions, training, tmp_path)
    one_sentence(caught.value)
    kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert np.isfinite(kept["losses"]).all()


def test_the_same_seed_twice_and_another_seed(make, easy_encoder, easy_instructions):
    """Oracle: bitwise repetition, whatever the global random state; dropout's seed matters."""
    training = Training(batch_size=4)
    batches = plan_batches(np.arange(len(easy_instructions)), training, seed=3)
    trained = []
    for noise, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(noise)
        model = make["gpt2"]()
        fine_tune(model, easy_encoder, batches, lambda _, n: easy_instructions[n], training, CPU, seed=seed)
        trained.append(weights(model))
    assert equal(trained[0], trained[1])
    assert not equal(trained[0], trained[2])


def test_a_lora_checkpoint_holds_what_is_trained(make, easy_encoder, easy_instructions, tmp_path):
    """Oracle: the names PEFT gives; a checkpoint of a 7 B model must not hold 7 B weights."""
    model = make["lora"]()
    before = weights(model)
    run(model, easy_encoder, easy_instructions, Training(batch_size=4, learning_rate=1e-2), tmp_path)
    kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)["state_dict"]
    trained = {f"model.{name}" for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(kept) == trained
    assert all(".lora_" in name for name in kept)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items() if "lora_" not in name)


@pytest.mark.parametrize("family", ["llama", "lora"])
def test_gradient_checkpointing_changes_memory_not_numbers(tiny_model, vocabulary, easy_encoder, easy_instructions, family):
    """Oracle: the same run without it."""
    ends = []
    for checkpointing in (False, True):
        model = tiny_model("llama", vocabulary)
        if family == "lora":
            config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], init_lora_weights=False)
            torch.manual_seed(0)
            model = peft.get_peft_model(model, config)
        before = weights(model)
        training = Training(batch_size=4, learning_rate=1e-2, gradient_checkpointing=checkpointing)
        losses, _ = run(model, easy_encoder, easy_instructions, training)
        assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules()) == checkpointing
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {name for name, value in model.named_parameters() if value.requires_grad}
        ends.append(losses)
    assert ends[0] == pytest.approx(ends[1], abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_learns(tiny_model, vocabulary, easy_encoder, easy_instructions, family):
    """Oracle: the loss of uniform guessing, log of the vocabulary, where training starts; it falls well below."""
    model = tiny_model(family, vocabulary)
    training = Training(loss_on="all", epochs=1, batch_size=4, learning_rate=1e-2)
    losses, _ = run(model, easy_encoder, easy_instructions, training)
    assert losses[0] == pytest.approx(np.log(vocabulary), abs=0.3)
    assert losses[-1] < 0.8 * losses[0]
    assert not model.training


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (0, 7), (3, 60), (36, 1200)])
def test_the_rate_is_that_of_transformers(warmup, steps):
    """Oracle: the library's schedule, bit for bit, up to the last step and the one behind it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    (expected,) = get_cosine_schedule_with_warmup(optimizer, warmup, steps).lr_lambdas
    part = warm_cosine(warmup, steps)
    assert [part(step) for step in range(steps + 1)] == [expected(step) for step in range(steps + 1)]


def test_the_rate_rises_and_falls_over_the_whole_run(tiny_model, vocabulary):
    """Oracle: by hand: up over the first fifth of 10 steps, then along a cosine to 0."""
    module = FineTuning(tiny_model("llama", vocabulary), Training(learning_rate=1.0, warmup=0.2), steps=10, seed=0)
    made = module.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    cosine = [0.5 * (1 + np.cos(np.pi * place / 8)) for place in range(8)]
    assert rates == pytest.approx([0.0, 0.5, *cosine])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)
    assert all(after < before for before, after in pairwise(rates[2:]))
    assert made["lr_scheduler"]["interval"] == "step"


def test_the_clock_ends_a_run_at_a_whole_step(make, easy_encoder, easy_instructions, tmp_path):
    """Oracle: the plan: no time at all is one optimiser step of two batches, on disk as in memory; time enough is all 11."""
    training = Training(epochs=2, batch_size=4, accumulate=2)
    batches = plan_batches(np.arange(len(easy_instructions)), training, seed=3)[:11]

    def tuned(max_minutes, work_dir=None):
        model = make["gpt2"]()
        before = weights(model)
        losses, went = fine_tune(
            model,
            easy_encoder,
            batches,
            lambda _, number: easy_instructions[number],
            training,
            CPU,
            seed=5,
            work_dir=work_dir,
            max_minutes=max_minutes,
        )
        assert not equal(before, weights(model))
        return losses, went

    losses, went = tuned(0)
    assert (went.batches, went.done, len(losses)) == (11, 2, 2)
    assert went.report(0)["batches_done"] == 2
    assert tuned(60)[1].done == 11
    _, went = tuned(1e-9, tmp_path)
    before = torch.load(tmp_path / CHECKPOINT, weights_only=True)["callbacks"]["Clock"]["minutes"]
    assert 0 < before <= went.minutes
    assert tuned(before + 60, tmp_path)[1].minutes > before  # minutes before a kill count
