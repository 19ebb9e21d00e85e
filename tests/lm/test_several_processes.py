"""Fine-tuning by several processes. Oracles: one process, also across a kill, and plain PEFT."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import peft
import pytest
import torch

from harmonic.distributed import joined, place
from harmonic.errors import BadInput
from harmonic.lm.batches import Training, plan_batches
from harmonic.lm.module import fine_tune
from harmonic.training import CHECKPOINT, Compute

RECIPE = Training(epochs=2, batch_size=4, accumulate=2, learning_rate=1e-2, warmup=0.2, gradient_checkpointing=True)
LORA = {"task_type": "CAUSAL_LM", "r": 4, "lora_dropout": 0.2, "target_modules": ["q_proj", "v_proj"]}
KILLED_AT = {1: 26, 2: 13}
"""Instructions that a process asks for before it dies, by the number of processes: in the fourth of six steps."""


def model_of(family, tiny_model, vocabulary):
    """gpt2: trained in full, with dropout and tied embeddings; lora: a llama in bfloat16 under adapters."""
    if family == "gpt2":
        return tiny_model("gpt2", vocabulary, dropout=0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return peft.get_peft_model(tiny_model("llama", vocabulary).bfloat16(), peft.LoraConfig(**LORA))


def run(model, encoder, instructions, strategy="single", work_dir=None, killed=False):
    """Fine-tune on 11 batches of 4, so that the last step is half a step, and the last batch but one process's."""
    batches = plan_batches(np.arange(len(instructions)), RECIPE, seed=3)[:11]
    compute = Compute("cpu", "32-true", checkpoint_minutes=0, strategy=strategy)
    asked = 0

    def instruct(epoch, number):
        nonlocal asked
        asked += 1
        if killed and asked > KILLED_AT[place()[1]]:
            raise RuntimeError("killed")
        return instructions[number]

    losses, done = fine_tune(model, encoder, batches, instruct, RECIPE, compute, seed=5, work_dir=work_dir)
    return losses, done.tokens


def shared(family, strategy, folder, tiny_model, encoder, instructions):
    """What each process does, in a process of its own (see `both`)."""
    torch.set_num_threads(1)
    with joined(torch.device("cpu")):
        model = model_of(family, tiny_model, len(encoder.tokenizer))
        losses, tokens = run(model, encoder, instructions, strategy)
        with pytest.raises(RuntimeError, match="killed"):
            run(model_of(family, tiny_model, len(encoder.tokenizer)), encoder, instructions, strategy, folder / "two", True)
        resumed = model_of(family, tiny_model, len(encoder.tokenizer))
        again, _ = run(resumed, encoder, instructions, strategy, folder / "one")
        rank = place()[0]
        if rank == 0:
            model.save_pretrained(folder / "model")
        torch.save([weights(model), weights(resumed)], folder / f"weights{rank}.pt")
        (folder / f"losses{rank}.json").write_text(json.dumps([losses, again, tokens]))


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def near(first, second):
    return first.keys() == second.keys() and all(torch.allclose(first[name], second[name], atol=2e-5) for name in first)


@pytest.mark.parametrize(("family", "strategy"), [("lora", "ddp"), ("lora", "fsdp"), ("gpt2", "fsdp")])
def test_two_processes_learn_what_one_does(
    family, strategy, tiny_model, easy_encoder, easy_instructions, tmp_path, monkeypatch
):
    """Oracle: one process: its losses and weights, unbroken, and where either goes on from the other's checkpoint."""
    vocabulary = len(easy_encoder.tokenizer)
    alone = model_of(family, tiny_model, vocabulary)
    start = weights(alone)
    losses, tokens = run(alone, easy_encoder, easy_instructions)
    assert len(losses) == 11
    assert not near(start, weights(alone))
    with pytest.raises(RuntimeError, match="killed"):
        run(model_of(family, tiny_model, vocabulary), easy_encoder, easy_instructions, "single", tmp_path / "one", True)

    here = Path(__file__).parent
    (tmp_path / "shared.py").write_text(
        f"import sys\nfrom pathlib import Path\nsys.path[:0] = [{str(here.parent)!r}, {str(here)!r}]\n"
        "import conftest, test_several_processes\n"
        "schema = conftest.easy_schema.__wrapped__()\ntable = conftest.easy_table.__wrapped__(schema)\n"
        "codec = conftest.easy_codec.__wrapped__(schema)\nencoder = conftest.easy_encoder.__wrapped__(codec, table)\n"
        "instructions = conftest.easy_instructions.__wrapped__(codec, table)\n"
        f"test_several_processes.shared({family!r}, {strategy!r}, Path({str(tmp_path)!r}), "
        "conftest.tiny_model.__wrapped__(), encoder, instructions)\n"
    )
    both(str(tmp_path / "shared.py"))

    for rank in (0, 1):
        found, again, read = json.loads((tmp_path / f"losses{rank}.json").read_text())
        assert found == pytest.approx(losses, abs=2e-5)
        assert again == pytest.approx(losses, abs=2e-5)
        assert read == tokens
        whole, resumed = torch.load(tmp_path / f"weights{rank}.pt")
        assert near(whole, weights(alone))
        assert near(resumed, weights(alone))

    assert torch.load(tmp_path / "two" / CHECKPOINT, weights_only=True)["processes"] == 2
    resumed = model_of(family, tiny_model, vocabulary)
    again, _ = run(resumed, easy_encoder, easy_instructions, "single", tmp_path / "two")
    assert again == pytest.approx(losses, abs=2e-5)
    assert near(weights(resumed), weights(alone))

    if family == "lora":
        plain = peft.PeftModel.from_pretrained(tiny_model("llama", vocabulary).bfloat16(), tmp_path / "model")
        ids = torch.arange(20)[None]
        assert torch.allclose(plain.eval()(ids).logits, alone.eval()(ids).logits, atol=0.02)
        assert not torch.allclose(plain.unload().eval()(ids).logits, alone(ids).logits, atol=0.02)


def both(*command):
    """Run a script in two processes, as torchrun starts them."""
    launch = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    alone = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run([*launch, *command], capture_output=True, text=True, timeout=240, env=alone, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize(
    ("training", "cure"),
    [
        (Training(batch_size=16), "model.training.batch_size=8 model.training.accumulate=2"),
        (Training(batch_size=4, accumulate=3), "model.training.batch_size=2 model.training.accumulate=6"),
    ],
)
def test_a_step_that_cannot_be_shared_is_refused(
    tiny_model, easy_encoder, easy_instructions, training, cure, monkeypatch, one_sentence
):
    """Oracle: the rule; the setting it names has as many rows in a step."""
    monkeypatch.setattr("harmonic.lm.module.place", lambda: (0, 2))
    model = tiny_model("llama", len(easy_encoder.tokenizer))
    batches = plan_batches(np.arange(len(easy_instructions)), training, seed=3)
    with pytest.raises(BadInput) as error:
        fine_tune(model, easy_encoder, batches, lambda *_: None, training, Compute("cpu", "32-true"), seed=0)
    one_sentence(error.value, cure, "2 processes")
