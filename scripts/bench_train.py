"""How fast a model is fine-tuned: our path, and the Hugging Face Trainer with the HARMONIC authors' settings.

    python scripts/bench_train.py dataset=german [model=base] [layers=0] [rows=64] [repeats=3] [batch_size=0] [threads=1]
                                  [seed=0] [checkpointing=false] [out=results/bench]

Both train the same weights on the same batches of the same instructions (the published form, examples of real neighbours),
in one process, in turns, `repeats` times; a turn starts from the first weights, and its seed orders and draws. model=base
is the shipped model, trained in full under its own recipe. model=llama2_7b has Llama-2-7B's sizes (or `layers` of its 32),
random weights in bfloat16 and adapters, as in conf/model/llama2_7b_random.yaml. batch_size=0 is the model's own;
checkpointing is for both systems. Layers are compiled for ours alone, where `trainer.compile=auto` does it.

The Trainer is set as in the authors' sft_train.py and sft_gen.sh: tokens made before; DataCollatorForSeq2Seq, which pads on
the left to the longest of the batch and a multiple of 8, with a mask; logits of every token; AdamW, cosine, gradients
clipped at 1, no gradient checkpointing. Not theirs: bfloat16 for float16, and none of their DeepSpeed (stage 3, weights and
optimiser offloaded to the host), which saves memory and costs time.
Writes <out>/train_<dataset>_<model>.json, with _gpu behind it on one: medians and all times.
"""

import copy
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np

from harmonic import env
from harmonic.arguments import interruptible, read_arguments
from harmonic.errors import BadInput, check_at_least, check_choice, check_count
from harmonic.store import check_writable, write_atomically

DEFAULTS = {
    "dataset": "",
    "model": "base",
    "layers": 0,
    "rows": 64,
    "repeats": 3,
    "batch_size": 0,
    "threads": 1,
    "seed": 0,
    "checkpointing": False,
    "out": "results/bench",
}
Model = Literal["base", "llama2_7b"]
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
"""Of a Llama's configuration, for the record."""
WARM_UP = 2
"""Steps of each turn that are not counted."""
PEAKS = {"H100": 989e12, "H200": 989e12}
"""Dense bfloat16 FLOP/s of NVIDIA's data sheets (SXM), by what the card's name holds."""


def main(arguments: list[str]) -> int:
    """Measure; a wrong argument or data set is one line and exit status 1."""
    try:
        options = read_arguments(arguments, DEFAULTS, ["dataset"])
        for name in ("rows", "repeats"):
            check_count(name, options[name], 1)
        check_writable("out", Path(options["out"]))
        env.set_threads(options["threads"])
        sizes = {"num_hidden_layers": options["layers"]} if options["layers"] else {}
        named = ("dataset", "model", "rows", "repeats", "batch_size", "seed", "checkpointing")
        result = measure(**{name: options[name] for name in named}, sizes=sizes)
    except BadInput as error:
        print(f"bench_train.py: {error}", file=sys.stderr)
        return 1
    suffix = "_gpu" if env.device_kind() == "cuda" else ""
    file = Path(options["out"]) / f"train_{Path(options['dataset']).stem}_{options['model']}{suffix}.json"
    write_atomically(file, json.dumps(result, indent=1) + "\n")
    print(file)
    print(f"  bound    {result['bound']['flops_per_s'] / 1e12:8.2f} TFLOP/s")
    for name, figures in result["systems"].items():
        print(f"  {name:<8} {_line(figures)}")
    return 0


def _line(figures: dict[str, Any]) -> str:
    if "error" in figures:
        return str(figures["error"])
    peak = figures["peak_gpu_memory_mb"] or figures["peak_memory_mb"]
    return (
        f"{figures['tokens_per_s']:8.0f} tokens/s, {figures['step_s']:.3f} s a step, loss {figures['loss']:.4f}, "
        f"{figures['share_of_bound']:.3f} of the bound, {peak / 1024:.2f} GiB"
    )


def measure(
    dataset: str,
    model: Model,
    rows: int,
    repeats: int,
    batch_size: int,
    seed: int,
    checkpointing: bool,
    sizes: dict[str, int],
) -> dict[str, Any]:
    """Speed, memory and last loss of each system, in JSON's types; `sizes` replace some of Llama-2-7B's."""
    check_choice("model", model, Model)
    check_at_least("repeats", repeats, 1)
    from harmonic.training import Compute

    bench = _Bench(dataset, model, rows, batch_size, seed, checkpointing, sizes, Compute())
    bound = matrix_rate(bench.compute)
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in bench.systems}
    for repeat in range(repeats):
        for name in turns:
            if not any("error" in turn for turn in turns[name]):
                turns[name].append(bench.turn(name, seed + repeat))
    peak = next((rate for card, rate in PEAKS.items() if card in env.device()), None)
    systems = {name: _summary(found, bound, peak) for name, found in turns.items()}
    speeds = [figures.get("tokens_per_s") for figures in systems.values()]
    lengths = [len(row) for row in bench.tokens]
    return {
        "dataset": dataset,
        "model": model,
        "sizes": {name: getattr(bench.model.config, name) for name in SIZES},
        "rows": rows,
        "batch_size": bench.training.batch_size,
        "steps": rows // bench.training.batch_size,
        "warm_up_steps": WARM_UP,
        "tokens_per_row": {"least": min(lengths), "median": float(np.median(lengths)), "most": max(lengths)},
        "loss_tokens_per_row": bench.loss_tokens / rows,
        "parameters": sum(parameter.numel() for parameter in bench.model.parameters()),
        "trained_parameters": sum(weight.numel() for weight in bench.first.values()),
        "flops_per_token": flops(bench.model, lengths, bench.loss_tokens) / sum(lengths),
        "loss_before": bench.loss_before,
        "recipe": asdict(bench.training),
        "precision": bench.compute.resolved_precision,
        "compiled": bench.compute.compiles(bench.model),
        "trainer": bench.trainer_settings(seed),
        "bound": {"flops_per_s": bound, "peak_flops_per_s": peak},
        "ours_over_trainer": speeds[0] / speeds[1] if all(speeds) else None,
        "systems": systems,
        "env": env.describe(),
    }


def _summary(turns: Sequence[dict[str, Any]], bound: float, peak: float | None) -> dict[str, Any]:
    """Medians over a system's turns, or why it has none."""
    if "error" in turns[-1]:
        return turns[-1]
    rate = float(np.median([turn["flops_per_s"] for turn in turns]))
    on_gpu = [turn["peak_gpu_memory_mb"] for turn in turns if turn["peak_gpu_memory_mb"] is not None]
    return {
        "tokens_per_s": float(np.median([turn["tokens_per_s"] for turn in turns])),
        "step_s": float(np.median([seconds for turn in turns for seconds in turn["step_s"]])),
        "loss": float(np.mean([turn["loss"] for turn in turns])),
        "flops_per_s": rate,
        "share_of_bound": rate / bound,
        "mfu": rate / peak if peak else None,
        "peak_memory_mb": max(turn["peak_memory_mb"] for turn in turns),
        "peak_gpu_memory_mb": max(on_gpu, default=None),
        "tokens_per_s_all": [turn["tokens_per_s"] for turn in turns],
        "step_s_all": [turn["step_s"] for turn in turns],
        "first_step_s_all": [turn["first_step_s"] for turn in turns],
        "loss_all": [turn["loss"] for turn in turns],
    }


class _Bench:
    """One model, its instructions, and the two systems that train it."""

    def __init__(
        self,
        dataset: str,
        model: Model,
        rows: int,
        batch_size: int,
        seed: int,
        checkpointing: bool,
        sizes: dict[str, int],
        compute: Any,
    ) -> None:
        from harmonic.datasets import load_dataset
        from harmonic.lm.load import BASE
        from harmonic.lm.random_llama import RandomLlama
        from harmonic.method import Harmonic

        backbone: Any = BASE if model == "base" else RandomLlama(device=compute.device.type, sizes=sizes)
        size = batch_size or backbone.training.batch_size
        self.training = replace(
            backbone.training,
            batch_size=size,
            accumulate=1,
            epochs=1,
            min_steps=0,
            max_steps=None,
            gradient_checkpointing=checkpointing,
        )
        if rows % size or rows < (WARM_UP + 1) * size:
            raise BadInput(f"rows must be {WARM_UP + 1} or more batches of {size}, but is {rows}: correct it.")
        self.harmonic = Harmonic(
            backbone,
            examples="neighbours",
            distance="published",
            label_rule="agreement_published",
            order="fixed",
            row_style="published",
            max_instructions=rows,
        )
        train = load_dataset(dataset, seed=seed).train
        self.harmonic.prepare(train, seed)
        if len(self.harmonic.groups) < rows:
            raise BadInput(f"{dataset} has {len(self.harmonic.groups)} instructions, but rows is {rows}: ask for fewer.")
        self.compute = compute
        self.harmonic.load_model(seed)
        self.model, self.encoder = self.harmonic.model.to(compute.device), self.harmonic.encoder
        self.first = {
            name: weight.detach().clone() for name, weight in self.model.named_parameters() if weight.requires_grad
        }
        self.systems: dict[str, Callable[[int], None]] = {"ours": self.ours, "trainer": self.trainer}
        self.order(seed)
        self.loss_before = self.loss()

    def order(self, seed: int) -> None:
        """Lay out the batches of a seed; texts are made and cut here, but ours cuts them again as it trains."""
        batches = list(self.harmonic.instructions.batches(self.training, seed))
        self.instructions = [item for batch in batches for item in batch]
        encode = self.encoder.encode
        self.prompts = [encode(item.prompt) for item in self.instructions]
        answers = [[*encode(item.answer), self.encoder.tokenizer.eos_token_id] for item in self.instructions]
        self.tokens = [[*prompt, *answer] for prompt, answer in zip(self.prompts, answers, strict=True)]
        self.loss_tokens = sum(map(len, answers))

    @property
    def batches(self) -> list[np.ndarray]:
        """Numbers of the instructions of each."""
        return np.split(np.arange(len(self.instructions)), len(self.instructions) // self.training.batch_size)

    def turn(self, name: str, seed: int) -> dict[str, Any]:
        """Train once from the first weights: seconds of the steps, and what they did with them."""
        import torch

        from harmonic.costs import measured

        self.order(seed)
        with torch.no_grad():
            for parameter, weight in self._trained():
                parameter.copy_(weight)
        self._free()
        reason = ""
        with (
            tempfile.TemporaryDirectory() as folder,
            step_ends(self.compute) as ends,
            measured(Path(folder) / "log") as cost,
        ):
            started = time.perf_counter()
            try:
                self.systems[name](seed)
            except (torch.OutOfMemoryError, BadInput) as error:
                reason = str(error).splitlines()[0]
        if reason:
            self._free()  # behind the exception, whose frames held the batch
            return {"error": reason}
        seconds = np.diff(ends)[WARM_UP - 1 :]
        counted = np.concatenate(self.batches[WARM_UP:])
        lengths = [len(self.tokens[number]) for number in counted]
        loss_tokens = sum(len(self.tokens[number]) - len(self.prompts[number]) for number in counted)
        return {
            "tokens_per_s": float(sum(lengths) / seconds.sum()),
            "flops_per_s": float(flops(self.model, lengths, loss_tokens) / seconds.sum()),
            "step_s": seconds.tolist(),
            "first_step_s": ends[0] - started,
            "loss": self.loss(),
            "peak_memory_mb": cost.peak_memory_mb,
            "peak_gpu_memory_mb": cost.peak_gpu_memory_mb,
        }

    def _trained(self) -> Iterator[tuple[Any, Any]]:
        """Each trained parameter and its first value, on the device of the run."""
        self.model.to(self.compute.device)
        named = dict(self.model.named_parameters())
        return ((named[name], weight) for name, weight in self.first.items())

    def _free(self) -> None:
        import torch

        self.model.zero_grad(set_to_none=True)
        gc.collect()
        if self.compute.device.type == "cuda":
            torch.cuda.empty_cache()

    def loss(self) -> float:
        """Nats per token that bears a loss, over all instructions, with the weights as they are."""
        import torch

        from harmonic.lm.batches import IGNORED, collate
        from harmonic.lm.module import FineTuning

        module = FineTuning(self.model.to(self.compute.device).eval(), self.training, 1, 0)
        total = 0.0
        with torch.no_grad(), self.compute.autocast():
            for numbers in self.batches:
                batch = collate([self.instructions[number] for number in numbers], self.encoder, self.training)
                batch = {name: value.to(self.compute.device) for name, value in batch.items()}
                total += module.training_step(batch, 0).item() * int((batch["labels"] != IGNORED).sum())
        return total / self.loss_tokens

    def ours(self, seed: int) -> None:
        """As `method=harmonic` does it."""
        from harmonic.lm.module import FineTuning, fine_tune

        batches = [(0, numbers) for numbers in self.batches]
        # Lightning moves a model to the host when it is done, which takes seconds here and is nobody's gain.
        with mock.patch.object(FineTuning, "cpu", lambda module: module):
            fine_tune(
                self.model,
                self.encoder,
                batches,
                lambda _, number: self.instructions[number],
                self.training,
                self.compute,
                seed=seed,
            )
        if self.training.gradient_checkpointing:
            self.model.gradient_checkpointing_disable()

    def trainer_settings(self, seed: int) -> dict[str, Any]:
        """Of `transformers.TrainingArguments`."""
        recipe = self.training
        steps = len(self.batches)
        return {
            "per_device_train_batch_size": recipe.batch_size,
            "gradient_accumulation_steps": 1,
            "num_train_epochs": 1,
            "learning_rate": recipe.learning_rate,
            "weight_decay": recipe.weight_decay,
            "warmup_steps": round(recipe.warmup * steps),
            "lr_scheduler_type": "cosine",
            "max_grad_norm": recipe.clip,
            "optim": "adamw_torch",
            "bf16": self.compute.resolved_precision == "bf16-mixed",
            **({"gradient_checkpointing": True} if recipe.gradient_checkpointing else {}),
            "use_cpu": self.compute.device.type == "cpu",
            "logging_strategy": "no",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "remove_unused_columns": False,
            "seed": seed,
        }

    def trainer(self, seed: int) -> None:
        """The Hugging Face Trainer, given ready tokens in the order of our batches."""
        import transformers
        from torch.utils.data import SequentialSampler

        class InOrder(transformers.Trainer):
            def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
                return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

        tokenizer = copy.deepcopy(self.encoder.tokenizer)
        tokenizer.padding_side = "left"
        rows = [
            {"input_ids": row, "attention_mask": [1] * len(row), "labels": [-100] * len(prompt) + row[len(prompt) :]}
            for row, prompt in zip(self.tokens, self.prompts, strict=True)
        ]
        settings = self.trainer_settings(seed)
        with tempfile.TemporaryDirectory() as folder:
            trainer = InOrder(
                self.model,
                transformers.TrainingArguments(folder, **settings),
                data_collator=transformers.DataCollatorForSeq2Seq(tokenizer, padding=True, pad_to_multiple_of=8),
                train_dataset=rows,
            )
            trainer.remove_callback(transformers.PrinterCallback)
            try:
                trainer.train()
                assert ("_original_forward" in vars(self.model)) == settings["bf16"]
            finally:
                self._undo_accelerate()
                if self.training.gradient_checkpointing:
                    self.model.gradient_checkpointing_disable()

    def _undo_accelerate(self) -> None:
        """Take off what accelerate leaves on a model: a forward that autocasts, and the mark by which a next Trainer would
        believe it there and train in float32."""
        for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
            vars(self.model).pop(name, None)


def flops(model: Any, lengths: Sequence[int], loss_tokens: int) -> float:
    """Floating-point operations that training on these rows needs, whoever does them: padding and recomputation left out.

    A matrix of n numbers takes 2n for each token forwards, 2n backwards for the gradient of what it reads, and 2n for its
    own where it is trained: 6n, or 4n where it is frozen. That holds for the matrices of the layers; the embedding is a
    table and takes none; the head counts at the tokens that bear a loss, where alone its logits are needed. Attention
    multiplies queries with keys, and chances with values: 2td each for a token that sees t others over d numbers, so 4t²d a
    row and layer, half of it where causal; backwards twice that: 6Lt²d in all (PaLM, Chowdhery et al. 2022, appendix B, has
    12Lt²d: no half).

    Args:
        model: a Llama, with or without adapters.
        lengths: tokens of each row.
        loss_tokens: of all rows, those that bear a loss.
    """
    config = model.config
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    layers = [weight for weight in model.parameters() if weight.ndim == 2 and weight is not embedding and weight is not head]
    width = config.num_attention_heads * config.head_dim

    def cost(weight: Any) -> int:
        return (6 if weight.requires_grad else 4) * weight.numel()

    attention = 6 * config.num_hidden_layers * width * sum(length**2 for length in lengths)
    return float(sum(lengths) * sum(map(cost, layers)) + loss_tokens * cost(head) + attention)


def matrix_rate(compute: Any, repeats: int = 10) -> float:
    """FLOP/s of a product of two square matrices in the dtype of training, the median of several; the bound of all."""
    import torch

    cuda = compute.device.type == "cuda"
    size = 8192 if cuda else 2048
    dtype = torch.float32 if compute.resolved_precision.startswith("32") else torch.bfloat16
    left, right = (torch.randn(size, size, device=compute.device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats + 2):
        started = now(compute)
        left @ right
        seconds.append(now(compute) - started)
    return 2 * size**3 / float(np.median(seconds[2:]))


@contextmanager
def step_ends(compute: Any) -> Iterator[list[float]]:
    """Within, when each optimiser step was done, whichever loop takes it."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    ends: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: ends.append(now(compute)))
    try:
        yield ends
    finally:
        hook.remove()


def now(compute: Any) -> float:
    """Seconds, once the device has done what it was given."""
    import torch

    if compute.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    sys.exit(interruptible(main))
