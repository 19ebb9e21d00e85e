"""How fast rows are written: our sampler, plain generation one prompt at a time and in batches, and the forward pass alone.

    python scripts/bench_sampler.py dataset=diabetes [model=base] [steps=100] [rows=128] [batch_size=128] [repeats=5]
                                    [threads=1] [seed=0] [out=results/bench]

One model, fine-tuned for `steps`, and one list of prompts for all four, which take turns `repeats` times in one process:
ours (method=harmonic as configured), loop (as published: a prompt, generate, parse, again where that fails; on a sixteenth
of the rows), batched (the same in batches of our size), and bound (one teacher-forced pass over what ours read and wrote, in
the same batches, next-token logits of the last token alone). model=llama2_7b has Llama-2-7B's sizes and random weights, as
in conf/model/llama2_7b_random.yaml: no text of its own is valid, so that ours and the bound alone are measured; masks hold
its rows to the table's form, with values as long as allowed.
Writes <out>/sampler_<dataset>.json, the model behind the data set if it is not base, and _gpu on one: medians and all times.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harmonic import env
from harmonic.arguments import interruptible, read_arguments
from harmonic.errors import BadInput, check_count
from harmonic.seed import derive_seed
from harmonic.store import check_writable, write_atomically

DEFAULTS = {
    "dataset": "",
    "model": "base",
    "steps": 100,
    "rows": 128,
    "batch_size": 128,
    "repeats": 5,
    "threads": 1,
    "seed": 0,
    "out": "results/bench",
}
LOOP_SHARE = 16
PATIENCE = 100
"""Tries that the loop gives a prompt."""


def main(arguments: list[str]) -> int:
    """Measure; a wrong argument or data set is one line and exit status 1."""
    try:
        options = read_arguments(arguments, DEFAULTS, ["dataset"])
        for name in ("steps", "rows", "batch_size", "repeats"):
            check_count(name, options[name], 1)
        check_writable("out", Path(options["out"]))
        env.set_threads(options["threads"])
        named = ("dataset", "model", "steps", "rows", "batch_size", "repeats", "seed")
        result = measure(**{name: options[name] for name in named})
    except BadInput as error:
        print(f"bench_sampler.py: {error}", file=sys.stderr)
        return 1
    which = "" if options["model"] == "base" else f"_{Path(options['model']).name}"
    suffix = "_gpu" if env.device_kind() == "cuda" else ""
    file = Path(options["out"]) / f"sampler_{Path(options['dataset']).stem}{which}{suffix}.json"
    write_atomically(file, json.dumps(result, indent=1) + "\n")
    print(file)
    for name, figures in result["systems"].items():
        speed = f"{figures['ms_per_row']:8.2f} ms a row" if figures["ms_per_row"] else "no valid row"
        print(f"  {name:<8} {speed}, valid {figures['validity']:.3f}")
    return 0


def measure(
    dataset: str,
    model: str,
    steps: int,
    rows: int,
    batch_size: int,
    repeats: int,
    seed: int,
    sizes: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Time per row of each system, in JSON's types; `sizes` replace some of Llama-2-7B's."""
    from harmonic.datasets import load_dataset
    from harmonic.lm.decoding import Decoding
    from harmonic.lm.load import BASE
    from harmonic.lm.random_llama import RandomLlama
    from harmonic.method import Harmonic
    from harmonic.method.sampling import Sampling
    from harmonic.training import Compute

    compute = Compute(compile=False)  # these few steps would not pay for it
    of_noise = model == "llama2_7b"
    backbone: Any = replace(BASE, path=model)
    if of_noise:
        backbone = RandomLlama(device=compute.device.type, sizes=sizes or {})
    training = replace(backbone.training, min_steps=min(steps, backbone.training.min_steps), max_steps=steps)
    sampling = Sampling(keep=None, decoding=Decoding(batch_size=batch_size))
    harmonic = Harmonic(replace(backbone, training=training), least_read=None, sampling=sampling, compute=compute)
    harmonic.fit(load_dataset(dataset, seed=seed).train, seed=seed)
    systems = _Systems(harmonic, rows, seed, ("ours", "bound") if of_noise else ("ours", "loop", "batched", "bound"))
    systems.ours()  # warms up, and leaves the texts that the bound reads
    times: dict[str, list[float]] = {name: [] for name in systems.runs}
    validity: dict[str, float] = {}
    for _ in range(repeats):
        for name, run in systems.runs.items():
            started = time.perf_counter()
            written, validity[name] = run()
            times[name].append((time.perf_counter() - started) / written if written else np.nan)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return {
        "dataset": dataset,
        "rows": rows,
        "steps": steps,
        "batch_size": harmonic.sampling.decoding.batch_size,
        "tokens_per_row": systems.tokens / rows,
        "drawn_tokens_per_row": harmonic.report["generation"]["new_tokens"] / rows,
        "systems": {
            name: {
                "ms_per_row": _known(1e3 * median),
                "rows_per_s": _known(1 / median),
                "tokens_per_s": _known(systems.tokens / rows / median),
                "times_ours": _known(medians["ours"] / median),
                "validity": validity[name],
                "ms_per_row_all": [_known(1e3 * value) for value in times[name]],
            }
            for name, median in medians.items()
        },
        "env": env.describe(),
    }


def _known(figure: float) -> float | None:
    """None where a system made no valid row."""
    return None if np.isnan(figure) else figure


class _Systems:
    """The four on the same prompts; each run returns how many rows it made, and the share of its texts that were valid."""

    def __init__(self, harmonic: Any, rows: int, seed: int, names: Sequence[str]) -> None:
        self.harmonic, self.rows, self.seed = harmonic, rows, seed
        self.prompts = [harmonic.prompt(number, seed) for number in range(rows)]
        self.runs: dict[str, Callable[[], tuple[int, float]]] = {name: getattr(self, name) for name in names}

    @property
    def tokens(self) -> int:
        """Tokens that ours read and wrote, prompts included."""
        return sum(map(len, self.read))

    def ours(self) -> tuple[int, float]:
        from harmonic.lm.sampler import sample_rows

        writer = self.harmonic.writer(self.harmonic.sampling.decoding, self.seed)
        texts: list[str] = []

        def read(text: str) -> Any:
            row = self.harmonic.codec.read(text)
            texts.append(text)
            return row

        result = sample_rows(writer, self.prompts.__getitem__, read, self.rows, compute=self.harmonic.compute)
        self.harmonic.report["generation"] = result.counts()
        self.read = [self._ids(prompt, text) for prompt, text in zip(self.prompts, texts, strict=True)]
        return self.rows, self.rows / result.tried

    def _ids(self, prompt: Any, text: str) -> list[int]:
        encoder = self.harmonic.encoder
        cells = json.loads(text)
        names = [self.harmonic.schema.names[column] for column in prompt.columns]
        values = [self.harmonic.codec.escape(cells[name]) for name in names]
        answer = [segment for pair in zip(prompt.keys, values, strict=True) for segment in (*pair, '"')]
        return [*encoder.encode(prompt.text), *encoder.encode(answer)]

    def _generate(self, prompts: list[Any]) -> list[bool]:
        """Whether what transformers' `generate` makes of each prompt is a valid row."""
        import torch
        from transformers import GenerationConfig

        from harmonic.codec import Unreadable
        from harmonic.lm.segments import pad_left

        harmonic, encoder = self.harmonic, self.harmonic.encoder
        end, pad = encoder.tokenizer.eos_token_id, encoder.tokenizer.pad_token_id
        settings = GenerationConfig(
            do_sample=True, max_new_tokens=harmonic.limits.row, eos_token_id=end, pad_token_id=pad, top_k=0
        )
        ids, mask = (
            tensor.to(harmonic.compute.device) for tensor in pad_left([encoder.encode(p.text) for p in prompts], pad)
        )
        torch.manual_seed(derive_seed(self.seed, "generate", self.next_try))
        self.next_try += 1
        written = harmonic.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        valid = []
        for answer in written[:, ids.shape[1] :].tolist():
            try:
                harmonic.codec.read(encoder.decode_value(answer))
                valid.append(True)
            except Unreadable:
                valid.append(False)
        return valid

    def loop(self) -> tuple[int, float]:
        """One prompt at a time, again until its row is valid."""
        self.next_try, tries, done = 0, 0, 0
        for prompt in self.prompts[::LOOP_SHARE]:
            for _ in range(PATIENCE):
                tries += 1
                if self._run(lambda prompt=prompt: self._generate([prompt]))[0]:
                    done += 1
                    break
        return done, done / tries

    def batched(self) -> tuple[int, float]:
        """All prompts in batches, each once: valid rows count."""
        self.next_try, size = 0, self.harmonic.sampling.decoding.batch_size
        valid: list[bool] = []
        for start in range(0, self.rows, size):
            valid += self._run(lambda start=start: self._generate(self.prompts[start : start + size]))
        return sum(valid), float(np.mean(valid))

    def bound(self) -> tuple[int, float]:
        """One pass over all tokens of ours."""
        from harmonic.lm.segments import pad_left

        size = self.harmonic.sampling.decoding.batch_size
        by_length = sorted(self.read, key=len, reverse=True)
        for start in range(0, self.rows, size):
            padded = pad_left(by_length[start : start + size], self.harmonic.encoder.tokenizer.pad_token_id)
            ids, mask = (tensor.to(self.harmonic.compute.device) for tensor in padded)
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            self._run(
                lambda ids=ids, mask=mask, positions=positions: self.harmonic.model(
                    input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, use_cache=False
                )
            )
        return self.rows, 1.0

    def _run(self, work: Callable[[], Any]) -> Any:
        import torch

        with torch.inference_mode(), self.harmonic.compute.autocast():
            return work()


if __name__ == "__main__":
    sys.exit(interruptible(main))
