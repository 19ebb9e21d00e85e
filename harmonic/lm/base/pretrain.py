"""Pre-training the base model: Lightning, a curriculum from short to long, resumed from any kill.

Matrices are trained with Muon (Jordan et al. 2024), embeddings and norms with AdamW: with AdamW alone, copying from the
context did not set in within the first few million tokens.
"""

import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader
from transformers import LlamaForCausalLM

from harmonic import env
from harmonic.errors import BadInput
from harmonic.lm.base.documents import FIXED, Document, Part, Reader, table_documents, training_texts
from harmonic.lm.base.prior import Ranges
from harmonic.lm.load import random_llama
from harmonic.lm.vocabulary import base_tokenizer
from harmonic.seed import derive_seed
from harmonic.store import write_atomically
from harmonic.training import Checkpoints, Compute, Stream, fit_stream, quiet_trainer, resume_point

EARLY_WEIGHT = 0.1
"""Loss weight of prose and first rows, which nothing in the text foretells."""
NOISY = Ranges(columns=(4, 24), rows=(48, 900), noise=(0.1, 1.6), numbers=(1.0, 1.4), snapped=0.25)
"""Wide tables of few rows whose neighbours often disagree, as surveys are."""
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Phase:
    """A stretch of the curriculum."""

    steps: int
    rows: int
    """Sequences in a batch."""
    length: int
    """Tokens in a sequence."""
    tables: Ranges
    """What its tables are like."""
    repeats: float = 0.0
    """Share of the sequences that are random tokens over and over: the shortest way to learn to copy."""
    bound_only: bool = False
    """Whether a document's softmax leaves out the slots that its table does not bind, as `vocabulary.bind` does in use."""
    anew: bool = False
    """Whether the learning rates rise and fall anew from here, with optimisers that remember nothing."""

    @property
    def tokens(self) -> int:
        """Tokens read in this phase."""
        return self.steps * self.rows * self.length


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, besides the code."""

    hidden_size: int = 192
    layers: int = 4
    heads: int = 3
    mlp_size: int = 512
    vocab_size: int = 1280
    """Tokens of the byte-level BPE; what the format fixes and the slots come on top."""
    slots: int = 512
    tokenizer_tables: int = 600
    context: int = 4096
    phases: tuple[Phase, ...] = (
        Phase(200, 16, 256, Ranges(columns=(3, 5)), repeats=0.5),
        Phase(600, 16, 256, Ranges(columns=(3, 6))),
        Phase(1600, 14, 512, Ranges(columns=(3, 12))),
        Phase(1300, 14, 768, Ranges(columns=(3, 22))),
        Phase(3600, 14, 768, NOISY, bound_only=True, anew=True),
    )
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    weight_decay: float = 0.05
    """Of the matrices."""
    warmup_steps: int = 50
    cooldown: float = 0.5
    """Share of a cycle's steps over which the rates fall to nothing, at its end."""
    seed: int = 0

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return sum(phase.steps for phase in self.phases)

    @property
    def tokens(self) -> int:
        """Tokens read in all."""
        return sum(phase.tokens for phase in self.phases)

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise IndexError("beyond the last step")

    @property
    def cycles(self) -> list[int]:
        """The steps at which a cycle of rates begins, and the step after the last."""
        starts = np.cumsum([0, *(phase.steps for phase in self.phases)]).tolist()
        return [start for start, phase in zip(starts, self.phases, strict=False) if not start or phase.anew] + starts[-1:]

    def rate(self, step: int) -> float:
        """What the learning rates are multiplied by."""
        start, stop = next((a, b) for a, b in itertools.pairwise(self.cycles) if step < b)
        left = (stop - step) / max(1.0, self.cooldown * (stop - start))
        return min(1.0, (step - start + 1) / self.warmup_steps, left)


def make_tokenizer(recipe: Recipe) -> Any:
    """The base tokenizer, trained on tables of the prior."""
    texts = training_texts(derive_seed(recipe.seed, "tokenizer"), recipe.tokenizer_tables)
    return base_tokenizer(texts, FIXED, recipe.vocab_size, recipe.slots)


def make_model(recipe: Recipe, tokenizer: Any) -> LlamaForCausalLM:
    """The model before its first step."""
    sizes = (recipe.hidden_size, recipe.layers, recipe.heads, recipe.mlp_size)
    return random_llama(tokenizer, *sizes, context=recipe.context, seed=derive_seed(recipe.seed, "weights"))


def make_batch(reader: Reader, recipe: Recipe, step: int, stream: str = "train") -> Batch:
    """The batch of a step: a function of the recipe, the step and the stream's name alone.

    Returns:
        tokens, parts, rows, int64 (b, t), see `Document`; weights, float32 (b, t): of each token as a target; and
        bound, bool (b, t, s): the slots, the last s tokens of the vocabulary, that may stand in the token's place.
    """
    phase = recipe.phase(step)
    rng = np.random.default_rng(derive_seed(recipe.seed, stream, step))
    documents: list[Document] = []
    wanted = phase.rows * phase.length
    while sum(map(len, documents)) < 1.3 * wanted:
        documents += table_documents(rng, reader, phase.tables, 5)
    documents = [documents[place] for place in rng.permutation(len(documents))]
    tokens, parts, ranks, numbers = _pack(documents, phase.rows, phase.length)
    bound = np.zeros((len(documents), len(reader.slots)), dtype=bool)
    for number, document in enumerate(documents):
        bound[number, document.bound - reader.slots[0]] = True
    bound = bound[numbers] | (not phase.bound_only)
    weights = np.where(ranks == 0, EARLY_WEIGHT, 1.0).astype(np.float32)
    for row in range(round(phase.repeats * phase.rows)):
        period = int(rng.integers(8, phase.length // 2))
        once = rng.choice(np.concatenate([reader.slots, tokens[row]]), period)
        tokens[row] = np.resize(once, phase.length)
        parts[row], ranks[row], weights[row] = Part.FORMAT, 0, np.arange(phase.length) >= period
        bound[row] = True
    arrays = {"tokens": tokens, "parts": parts, "rows": ranks, "weights": weights, "bound": bound}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _pack(documents: Sequence[Document], rows: int, length: int) -> np.ndarray:
    """Documents end to end in `rows` sequences: tokens, parts, rows and number of the document, int64 (4, rows, length).

    What runs over the end of a sequence is cut; the last sequences go round again should the documents run out.
    """
    packed: list[np.ndarray] = []
    held: list[np.ndarray] = []
    size = place = 0
    while len(packed) < rows:
        number = place % len(documents)
        place += 1
        document = documents[number]
        numbers = np.full(len(document), number)
        held.append(np.stack([document.tokens, document.parts, document.rows, numbers]).astype(np.int64))
        size += len(document)
        if size >= length:
            packed.append(np.concatenate(held, axis=1)[:, :length])
            held, size = [], 0
    return np.stack(packed, axis=1)


def split_sums(losses: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Sum and count of the losses of tokens 1 to t - 1 by part, of the first row and of later ones: float32 (2, parts, 2).

    It stays on the device: reading a number of each step would make a GPU wait.
    """
    later = (batch["rows"][:, 1:] > 0).long()
    places = 2 * batch["parts"][:, 1:] + later
    sums = losses.new_zeros(2, 2 * len(Part))
    sums.index_add_(1, places.flatten(), torch.stack([losses, torch.ones_like(losses)]).flatten(1))
    return sums.view(2, len(Part), 2)


def split_loss(sums: torch.Tensor) -> dict[str, float]:
    """Mean loss in nats by part, of the first row and of later ones, where there are any; `sums` is of `split_sums`."""
    total, count = sums.tolist()
    return {
        f"{part.name.lower()}_{name}": total[part][place] / count[part][place]
        for part in Part
        for place, name in enumerate(("first", "later"))
        if count[part][place]
    }


def token_losses(model: Any, batch: Batch) -> torch.Tensor:
    """Cross-entropy of tokens 1 to t - 1 in nats, float32 (b, t - 1)."""
    logits = model(input_ids=batch["tokens"], use_cache=False).logits[:, :-1].float()
    bound = batch["bound"][:, 1:]
    if not bound.all():
        logits[..., -bound.shape[-1] :].masked_fill_(~bound, -torch.inf)
    flat = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["tokens"][:, 1:].flatten(), reduction="none")
    return flat.view(len(logits), -1)


class PreTraining(lightning.LightningModule):
    """A causal LM that reads tables of the prior."""

    def __init__(self, model: LlamaForCausalLM, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.automatic_optimization = False
        self.curve: list[dict[str, float]] = []
        """Per step that was read: its number, tokens so far, loss, and the loss by part."""
        self.unread: list[tuple[torch.Tensor, torch.Tensor]] = []
        """Loss and `split_sums` of the steps since."""
        self.seconds = 0.0
        """Time of training, over all sittings."""
        self.last = 0.0

    def on_train_start(self) -> None:
        """Count the seconds from here."""
        self.last = time.perf_counter()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of both optimisers."""
        losses = token_losses(self.model, batch)
        weights = batch["weights"][:, 1:]
        loss = (losses * weights).sum() / weights.sum()
        self.manual_backward(loss)
        anew = batch_idx in self.recipe.cycles
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * self.recipe.rate(batch_idx)
            if anew:
                optimizer.state.clear()
            optimizer.step()
            optimizer.zero_grad()
        self.unread.append((loss.detach(), split_sums(losses.detach(), batch)))
        self.seconds += time.perf_counter() - self.last
        self.last = time.perf_counter()

    def read_curve(self) -> list[dict[str, float]]:
        """The curve up to the last step."""
        for loss, sums in self.unread:
            step = len(self.curve)
            phase = self.recipe.phase(step)
            tokens = (self.curve[-1]["tokens"] if self.curve else 0) + phase.rows * phase.length
            self.curve.append({"step": step, "tokens": tokens, "loss": float(loss), **split_loss(sums)})
        self.unread.clear()
        return self.curve

    def _optimizers(self) -> list[Any]:
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        return optimizers

    def configure_optimizers(self) -> list[Any]:
        """Muon for the matrices inside the layers, AdamW for the rest."""
        recipe = self.recipe
        matrices = [p for name, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in name]
        chosen = set(map(id, matrices))
        rest = [p for p in self.model.parameters() if id(p) not in chosen]
        muon = torch.optim.Muon([{"params": matrices, "peak": recipe.muon_rate}], recipe.muon_rate, recipe.weight_decay)
        adam = torch.optim.AdamW(
            [{"params": rest, "peak": recipe.adam_rate}], recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0
        )
        return [muon, adam]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curve and the clock."""
        checkpoint["curve"], checkpoint["seconds"] = self.read_curve(), self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them up."""
        self.curve, self.seconds = list(checkpoint["curve"]), checkpoint["seconds"]


class _Report(Callback):
    """A line every so many steps."""

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % self.every and batch_idx + 1 != module.recipe.steps:
            return
        last = module.read_curve()[-self.every :]
        means = {name: float(np.nanmean([entry.get(name, math.nan) for entry in last])) for name in last[-1]}
        split = "  ".join(f"{name} {value:.2f}" for name, value in means.items() if name not in ("step", "tokens"))
        tokens = module.curve[-1]["tokens"]
        print(f"step {len(module.curve)}/{module.recipe.steps}  {tokens / 1e6:.2f} M tokens  {split}", flush=True)


def pretrain(recipe: Recipe, out: Path, compute: Compute, *, workers: int = 1, report_every: int = 25) -> dict[str, Any]:
    """Train the base model and write it into `out` in Hugging Face form; a run that was killed goes on.

    Args:
        recipe: what to train.
        out: model and tokenizer, and training.json: recipe, seconds, machine, and the loss curve.
        compute: device, precision, checkpoint interval.
        workers: processes that make batches.
        report_every: steps between two lines.

    Returns:
        What training.json holds.

    Raises:
        BadInput: what is unfinished in `out` is a run of another recipe.
    """
    work_dir = out / "unfinished"
    work_dir.mkdir(parents=True, exist_ok=True)
    _check_recipe(recipe, work_dir)
    checkpoint, start = resume_point(work_dir)
    tokenizer = make_tokenizer(recipe)
    reader = Reader(tokenizer)
    module = PreTraining(make_model(recipe, tokenizer), recipe)
    trainer = quiet_trainer(compute, [Checkpoints(work_dir, compute.checkpoint_minutes), _Report(report_every)])
    module.train()
    stream = Stream(partial(make_batch, reader, recipe), start, recipe.steps)
    fit_stream(trainer, module, DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=8), checkpoint)
    module.model.float().save_pretrained(out)
    tokenizer.save_pretrained(out)
    summary = {
        "recipe": asdict(recipe),
        "parameters": sum(parameter.numel() for parameter in module.model.parameters()),
        "tokens": recipe.tokens,
        "seconds": module.seconds,
        "precision": compute.resolved_precision,
        "env": env.describe(),
        "curve": _thinned(module.read_curve()),
    }
    (out / "training.json").write_text(json.dumps(summary, indent=1) + "\n")
    for file in work_dir.iterdir():
        file.unlink()
    work_dir.rmdir()
    return summary


def _check_recipe(recipe: Recipe, work_dir: Path) -> None:
    """Leave word of which recipe is at work in a folder, or refuse another one's."""
    path, wanted = work_dir / "recipe.json", json.loads(json.dumps(asdict(recipe)))
    begun = json.loads(path.read_text()) if path.exists() else wanted
    other = sorted(name for name in wanted if begun.get(name) != wanted[name])
    if other:
        raise BadInput(
            f"{work_dir} must be of this recipe, but was begun with another {other[0]}: repeat that command, or remove it."
        )
    write_atomically(path, json.dumps(wanted))


def _thinned(curve: Sequence[dict[str, float]], points: int = 60) -> list[dict[str, float]]:
    """The curve in at most `points` means."""
    thinned = []
    for part in np.array_split(np.arange(len(curve)), min(points, len(curve))):
        entries = [curve[place] for place in part]
        names = sorted({name for entry in entries for name in entry} - {"step", "tokens"})
        means = {name: round(float(np.mean([entry[name] for entry in entries if name in entry])), 4) for name in names}
        thinned.append({"step": entries[-1]["step"], "tokens": entries[-1]["tokens"], **means})
    return thinned
