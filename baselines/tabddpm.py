"""TabDDPM: a diffusion model of numbers and categories (Kotelnikov et al., ICML 2023)."""

import itertools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, mse_loss, one_hot, silu

from baselines.arrays import Arrays
from baselines.exchange import refuse_text
from baselines.network import drawn_batches, load_weights, save_weights, train_network
from harmonic.budget import Budget, check_budget, check_minutes, settle, total_steps
from harmonic.seed import derive_seed, global_seed
from harmonic.table import schema_of
from harmonic.training import Compute, Resumable, loss_curve, progress_bar

FAREST = 5.2
"""Largest denoised number while sampling: where a normal distribution's quantiles end in practice. Without a bound, a small
network's numbers run away."""
SAMPLE_ROWS = 8192
"""Rows sampled at once."""
TIME_SIZE = 128


@dataclass(frozen=True)
class Recipe:
    """Network and training."""

    layers: tuple[int, ...]
    """Hidden sizes of the denoising network."""
    steps: int
    """It trains until both the steps and the epochs are done."""
    epochs: int = 0
    timesteps: int = 100
    batch_size: int = 1024
    learning_rate: float = 2e-3
    """At the start; it falls to 0 along a line."""


BUDGETS: dict[Budget, Recipe] = {
    "smoke": Recipe((64,), timesteps=10, steps=20, batch_size=256),
    "default": Recipe((256, 256), steps=3000, epochs=300),
    "published": Recipe((256, 1024, 1024, 1024, 1024, 256), steps=30_000, batch_size=4096),
}
"""Published is the configuration tuned on Adult in the paper's repository; it tunes one for each data set."""


class TabDdpm:
    """Gaussian diffusion of the numbers, multinomial diffusion of the categories, one network for both.

    The target of a classification is not generated: rows are made for a class drawn as in train. Our implementation, from
    the paper; beside it, empty numbers have a flag that is a category, and denoised numbers are bounded while sampling. The
    authors' network reads the logarithms of one-hot codes, ours the codes; they move whole numbers to values that train has
    where these are 32 or fewer, ours are rounded.

    Args:
        budget: smoke, default or published, see `BUDGETS`.
        steps: training steps, instead of the budget's.
        max_minutes: end training after this long.
        compute: device, precision, checkpoints.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        steps: int | None = None,
        max_minutes: float | None = None,
        compute: Compute | None = None,
    ) -> None:
        self.budget, self.steps, self.max_minutes = check_budget(budget), steps, check_minutes(max_minutes)
        self.recipe = settle(budget, BUDGETS, steps=steps)
        self.compute = compute or Compute()
        self.report: dict[str, Any] = {}

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Learn to denoise; a run that was killed resumes from `work_dir`."""
        refuse_text(schema_of(train), "tabddpm")
        self.arrays = Arrays.fit(train)
        numbers, codes, classes = self._split(*self.arrays.encode(train))
        self.class_counts = np.bincount(classes, minlength=self._shape["classes"])
        tensors = [torch.from_numpy(part) for part in (numbers, codes, classes)]
        steps = total_steps(self.recipe.steps, self.recipe.epochs, len(train), self.recipe.batch_size)
        self.network, run = train_network(
            lambda: Diffusion(self.recipe, **self._shape, steps=steps, seed=seed),
            drawn_batches(tensors, self.recipe.batch_size, seed),
            steps,
            self.compute,
            what="tabddpm",
            seed=seed,
            work_dir=work_dir,
            max_minutes=self.max_minutes,
        )
        self.report = {
            "recipe": asdict(self.recipe),
            **run.report(self.max_minutes),
            "losses": loss_curve(self.network.losses),
        }
        return self

    @property
    def _label(self) -> int | None:
        """Place of the target among the codes, where it is a class."""
        if self.arrays.schema.task == "regression":
            return None
        return [column.name for column in self.arrays.discrete].index(self.arrays.schema.target)

    @property
    def _shape(self) -> dict[str, Any]:
        sizes = list(self.arrays.sizes)
        classes = 1 if self._label is None else sizes.pop(self._label)
        return {"numbers": len(self.arrays.numeric), "sizes": sizes, "classes": classes}

    def _split(self, numbers: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers, codes without the class, and the class."""
        if self._label is None:
            return numbers, codes, np.zeros(len(codes), dtype=np.int64)
        return numbers, np.delete(codes, self._label, axis=1), codes[:, self._label]

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows, of classes in train's proportions."""
        rng = np.random.default_rng(derive_seed(seed, "classes"))
        classes = rng.choice(len(self.class_counts), size=n, p=self.class_counts / self.class_counts.sum())
        self.network.to(self.compute.device)
        parts = []
        with progress_bar("tabddpm sampling", n) as bar, global_seed(seed), torch.inference_mode():
            for start in range(0, n, SAMPLE_ROWS):
                some = torch.from_numpy(classes[start : start + SAMPLE_ROWS]).to(self.compute.device)
                parts.append(self.network.sample(some))
                bar.update(len(some))
        numbers, codes = (np.concatenate([part[place].cpu().numpy() for part in parts]) for place in (0, 1))
        if self._label is not None:
            codes = np.insert(codes, self._label, classes, axis=1)
        return self.arrays.decode(numbers, codes)

    def save(self, folder: Path) -> None:
        """Weights, quantiles and class counts; no row of train."""
        save_weights(self.network, folder)
        self.arrays.save(folder)
        state = {"recipe": asdict(self.recipe), "class_counts": self.class_counts.tolist(), "report": self.report}
        (folder / "method.json").write_text(json.dumps(state))

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        state = json.loads((folder / "method.json").read_text())
        self.arrays = Arrays.load(folder)
        self.class_counts, self.report = np.array(state["class_counts"]), state["report"]
        recipe = Recipe(**{**state["recipe"], "layers": tuple(state["recipe"]["layers"])})
        self.network = load_weights(Diffusion(recipe, **self._shape, steps=1, seed=0), folder)
        return self


class Diffusion(Resumable):
    """The two diffusions and their network. Rows are numbers (b, p) and codes (b, q); t is an int64 tensor (b,)."""

    retained: Tensor
    alpha: Tensor

    def __init__(self, recipe: Recipe, numbers: int, sizes: list[int], classes: int, steps: int, seed: int) -> None:
        super().__init__(seed)
        self.recipe, self.numbers, self.sizes, self.steps = recipe, numbers, sizes, steps
        width = numbers + sum(sizes)
        widths = [TIME_SIZE, *recipe.layers]
        hidden = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.project = nn.Linear(width, TIME_SIZE)
        self.time = nn.Sequential(nn.Linear(TIME_SIZE, TIME_SIZE), nn.SiLU(), nn.Linear(TIME_SIZE, TIME_SIZE))
        self.label = nn.Embedding(classes, TIME_SIZE)
        self.body = nn.Sequential(*hidden, nn.Linear(widths[-1], width))
        retained = _cosine_schedule(recipe.timesteps)
        self.register_buffer("retained", retained.float())  # share of the signal left after step t, (T,)
        before = torch.cat([torch.ones(1), retained[:-1].float()])
        self.register_buffer("alpha", retained.float() / before)  # share left by step t alone, (T,)

    def forward(self, numbers: Tensor, codes: Tensor, t: Tensor, classes: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Noise of the numbers (b, p), and for each column of codes the log-probabilities of the clean code (b, size)."""
        hot = [one_hot(codes[:, place], size).to(numbers.dtype) for place, size in enumerate(self.sizes)]
        condition = self.time(_waves(t, TIME_SIZE)) + silu(self.label(classes))
        out = self.body(self.project(torch.cat([numbers, *hot], dim=1)) + condition).float()
        noise, *logits = out.split([self.numbers, *self.sizes], dim=1)
        return noise, [log_softmax(part, dim=1) for part in logits]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Mean squared error of the noise, and the variational bound of the codes, averaged over their columns."""
        numbers, codes, classes = batch
        t = torch.randint(self.recipe.timesteps, (len(numbers),), device=numbers.device)
        noise = torch.randn_like(numbers)
        signal = self.retained[t, None]
        noisy = signal.sqrt() * numbers + (1 - signal).sqrt() * noise
        noised = self._noised(codes, self.retained[t])
        guess, clean = self(noisy, noised, t, classes)
        loss = mse_loss(guess, noise) if self.numbers else guess.new_zeros(())
        if self.sizes:
            bounds = [
                self._bound(codes[:, place], noised[:, place], clean[place], t, size)
                for place, size in enumerate(self.sizes)
            ]
            loss = loss + torch.stack(bounds).mean()
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self) -> Any:
        """Adam, its rate falling to 0 along a line."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.recipe.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _noised(self, codes: Tensor, keep: Tensor) -> Tensor:
        """Each code kept with probability `keep` (b,), else drawn uniformly; (b, q)."""
        kept = torch.rand(codes.shape, device=codes.device) < keep[:, None]
        sizes = torch.tensor(self.sizes, device=codes.device)
        uniform = (torch.rand(codes.shape, device=codes.device) * sizes).long().minimum(sizes - 1)
        return torch.where(kept, codes, uniform)

    def _bound(self, codes: Tensor, noised: Tensor, clean: Tensor, t: Tensor, size: int) -> Tensor:
        """One column's share of the variational bound, estimated at step t and times the number of steps; a scalar."""
        known = torch.log(one_hot(codes, size).float().clamp(min=1e-30))
        truth, guess = (self._posterior(start, noised, t, size) for start in (known, clean))
        divergence = (truth.exp() * (truth - guess)).sum(1)
        likelihood = -guess.gather(1, codes[:, None])[:, 0]
        return (torch.where(t == 0, likelihood, divergence) * self.recipe.timesteps).mean()

    def _posterior(self, start: Tensor, noised: Tensor, t: Tensor, size: int) -> Tensor:
        """log q(code before step t | code after it, log-probabilities of the clean code); (b, size)."""
        before = torch.where(t > 0, self.retained[(t - 1).clamp(min=0)], 1.0)[:, None]
        # at t = 0, what precedes is the clean code itself
        earlier = torch.logaddexp(start + torch.log(before), torch.log((1 - before).clamp(min=1e-30)) - math.log(size))
        step = self.alpha[t, None]
        here = one_hot(noised, size).float() * step + (1 - step) / size
        return log_softmax(earlier + torch.log(here), dim=1)

    def sample(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of these classes (b,): numbers (b, p) and codes (b, q)."""
        n, device = len(classes), classes.device
        numbers = torch.randn(n, self.numbers, device=device)
        sizes = torch.tensor(self.sizes, device=device)
        codes = (torch.rand(n, len(self.sizes), device=device) * sizes).long() if self.sizes else classes.new_zeros(n, 0)
        for step in reversed(range(self.recipe.timesteps)):
            t = torch.full((n,), step, device=device)
            noise, clean = self(numbers, codes, t, classes)
            numbers = self._earlier_numbers(numbers, noise, step)
            drawn = [_draw(self._posterior(clean[place], codes[:, place], t, size)) for place, size in enumerate(self.sizes)]
            codes = torch.stack(drawn, dim=1) if drawn else codes
        return numbers, codes

    def _earlier_numbers(self, numbers: Tensor, noise: Tensor, step: int) -> Tensor:
        """One step of ancestral sampling; the variance is that of the step (Ho et al. 2020)."""
        signal = self.retained[step]
        before = self.retained[step - 1] if step else torch.ones((), device=numbers.device)
        clean = ((numbers - (1 - signal).sqrt() * noise) / signal.sqrt()).clamp(-FAREST, FAREST)
        beta = 1 - self.alpha[step]
        mean = (before.sqrt() * beta * clean + self.alpha[step].sqrt() * (1 - before) * numbers) / (1 - signal)
        return mean + beta.sqrt() * torch.randn_like(numbers) if step else mean


def _draw(log_probabilities: Tensor) -> Tensor:
    """A code for each row, by the Gumbel trick; (b,)."""
    uniform = torch.rand_like(log_probabilities).clamp(min=1e-30)
    return (log_probabilities - torch.log(-torch.log(uniform))).argmax(dim=1)


def _cosine_schedule(timesteps: int) -> Tensor:
    """Share of the signal that is left after each step (Nichol and Dhariwal 2021), float64, (T,)."""
    times = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
    left = torch.cos((times + 0.008) / 1.008 * math.pi / 2) ** 2
    alphas = (left[1:] / left[:-1]).clamp(min=0.001)
    return torch.cumprod(alphas, dim=0)


def _waves(t: Tensor, size: int) -> Tensor:
    """Sinusoidal embedding of the step; (b, size)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(size // 2, device=t.device) / (size // 2))
    angles = t[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)
