"""TabSyn: diffusion in the latent space of a variational autoencoder (Zhang et al., ICLR 2024)."""

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
from torch.nn.functional import cross_entropy, mse_loss

from baselines.arrays import Arrays
from baselines.exchange import refuse_text
from baselines.network import drawn_batches, load_weights, save_weights, train_network
from harmonic.budget import Budget, check_budget, check_minutes, settle, total_steps
from harmonic.seed import derive_seed, global_seed
from harmonic.table import schema_of
from harmonic.training import Compute, Resumable, loss_curve, progress_bar

TOKEN = 4
"""Latent numbers of a column."""
LAYERS, FEED_FORWARD = 2, 32 * TOKEN
MOST_KL, LEAST_KL = 1e-2, 1e-5
"""Weight of the Kullback-Leibler term, at the start and at the end of the autoencoder's training."""
LEAST_NOISE, MOST_NOISE, CURVE, CHURN, NOISE_STEPS = 0.002, 80.0, 7, 1.0, 50
"""The sampler of Karras et al. 2022 as TabSyn sets it."""
DATA_DEVIATION = 0.5
ENCODED_ROWS = 8192


@dataclass(frozen=True)
class Recipe:
    """Networks and training; each network trains until both its steps and its epochs are done."""

    vae_steps: int
    steps: int
    """Of the diffusion."""
    vae_epochs: int = 0
    epochs: int = 0
    """Of the diffusion."""
    width: int = 256
    """Of the denoising network."""
    batch_size: int = 1024
    learning_rate: float = 1e-3
    """Of both networks at the start; it falls to 0 along a cosine."""


BUDGETS: dict[Budget, Recipe] = {
    "smoke": Recipe(vae_steps=30, steps=30, width=64, batch_size=256),
    "default": Recipe(vae_steps=1500, vae_epochs=100, steps=4000, epochs=200),
    "published": Recipe(0, 0, vae_epochs=4000, epochs=10_000, width=1024, batch_size=4096),
}
"""Published is the paper's repository, which also ends the diffusion where its loss stands still."""


class TabSyn:
    """A transformer turns each column into a few latent numbers; a diffusion model learns their joint distribution.

    Our implementation, from the paper. It differs in the schedules: the weight of the Kullback-Leibler term and the rate
    fall along fixed curves, not where a validation loss stands still, so that a run is known from its start, and the last
    weights are kept, not those that were best (the authors' autoencoder: on test rows). The transformer is torch's, with a
    projection behind its attention and a norm before its first layer, and has no extra token for the row. Empty numbers are
    the median with a flag beside it, not the mean.

    Args:
        budget: smoke, default or published, see `BUDGETS`.
        steps: training steps of the diffusion, instead of the budget's.
        max_minutes: end training after this long; a third of it is the autoencoder's.
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
        """Train the autoencoder, then the diffusion; a run that was killed resumes from `work_dir`."""
        refuse_text(schema_of(train), "tabsyn")
        self.arrays = Arrays.fit(train)
        table = [torch.from_numpy(part) for part in self.arrays.encode(train)]
        seeds = [derive_seed(seed, part) for part in ("vae", "diffusion")]
        size, keeps_last = (len(train), self.recipe.batch_size), self.budget == "published"
        vae_steps = total_steps(self.recipe.vae_steps, self.recipe.vae_epochs, *size, keeps_last=keeps_last)
        steps = total_steps(self.recipe.steps, self.recipe.epochs, *size, keeps_last=keeps_last)
        limits = [None, None] if self.max_minutes is None else [self.max_minutes / 3, 2 * self.max_minutes / 3]
        self.vae, vae_run = self._train(
            lambda: self._new_vae(vae_steps, seeds[0]), table, vae_steps, seeds[0], work_dir, limits[0]
        )
        latent = self._encoded(table)
        self.mean = latent.mean(0)
        self.diffusion, run = self._train(
            lambda: LatentDiffusion(latent.shape[1], self.recipe, steps, seeds[1]),
            [(latent - self.mean) / 2],
            steps,
            seeds[1],
            work_dir,
            limits[1],
        )
        self.report = {
            "recipe": asdict(self.recipe),
            "vae": vae_run.report(limits[0]),
            **run.report(self.max_minutes),
            "losses": loss_curve(self.diffusion.losses),
        }
        return self

    def _train(
        self, make: Any, table: list[Tensor], steps: int, seed: int, work_dir: Path | None, max_minutes: float | None
    ) -> tuple[Any, Any]:
        """One of the two networks, trained on rows of `table`."""
        what = "tabsyn autoencoder" if len(table) == 2 else "tabsyn diffusion"
        return train_network(
            make,
            drawn_batches(table, self.recipe.batch_size, seed),
            steps,
            self.compute,
            what=what,
            seed=seed,
            work_dir=work_dir / what.split()[1] if work_dir else None,
            max_minutes=max_minutes,
        )

    def _new_vae(self, steps: int, seed: int) -> "Autoencoder":
        return Autoencoder(len(self.arrays.numeric), self.arrays.sizes, self.recipe, steps, seed)

    def _encoded(self, table: list[Tensor]) -> Tensor:
        """Latent means of rows, float32, shape (n, columns times TOKEN)."""
        self.vae.to(self.compute.device)
        with torch.inference_mode():
            parts = [
                self.vae.encode(*(part[start : start + ENCODED_ROWS].to(self.compute.device) for part in table))[0].cpu()
                for start in range(0, len(table[0]), ENCODED_ROWS)
            ]
        return torch.cat(parts).flatten(1)

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows."""
        device = self.compute.device
        self.vae.to(device)
        self.diffusion.to(device)
        parts = []
        with progress_bar("tabsyn sampling", n) as bar, global_seed(seed), torch.inference_mode():
            for start in range(0, n, ENCODED_ROWS):
                size = min(ENCODED_ROWS, n - start)
                latent = self.diffusion.sample(size, device) * 2 + self.mean.to(device)
                numbers, logits = self.vae.decode(latent.reshape(size, -1, TOKEN))
                codes = (
                    torch.stack([part.argmax(1) for part in logits], dim=1) if logits else numbers.new_zeros(size, 0).long()
                )
                parts.append((numbers.cpu().numpy(), codes.cpu().numpy()))
                bar.update(size)
        return self.arrays.decode(*(np.concatenate([part[place] for part in parts]) for place in (0, 1)))

    def save(self, folder: Path) -> None:
        """Weights, quantiles and the latent mean; no row of train."""
        save_weights(self.vae, folder, "vae.safetensors")
        save_weights(self.diffusion, folder)
        self.arrays.save(folder)
        state = {"recipe": asdict(self.recipe), "mean": self.mean.tolist(), "report": self.report}
        (folder / "method.json").write_text(json.dumps(state))

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        state = json.loads((folder / "method.json").read_text())
        self.arrays, self.recipe = Arrays.load(folder), Recipe(**state["recipe"])
        self.mean, self.report = torch.tensor(state["mean"]), state["report"]
        self.vae = load_weights(self._new_vae(1, 0), folder, "vae.safetensors")
        self.diffusion = load_weights(LatentDiffusion(len(self.mean), self.recipe, 1, 0), folder)
        return self


class Autoencoder(Resumable):
    """Columns (p numbers, q codes) to latent tokens (b, p + q, TOKEN) and back."""

    def __init__(self, numbers: int, sizes: list[int], recipe: Recipe, steps: int, seed: int) -> None:
        super().__init__(seed)
        self.numbers, self.sizes, self.recipe, self.steps = numbers, sizes, recipe, steps
        columns = numbers + len(sizes)
        self.number_in = nn.Parameter(torch.randn(numbers, TOKEN) / math.sqrt(TOKEN))
        self.codes_in = nn.ModuleList(nn.Embedding(size, TOKEN) for size in sizes)
        self.place = nn.Parameter(torch.randn(columns, TOKEN) / math.sqrt(TOKEN))
        self.to_mean, self.to_log_variance, self.from_latent = (_transformer() for _ in range(3))
        self.number_out = nn.Parameter(torch.randn(numbers, TOKEN) / math.sqrt(TOKEN))
        self.codes_out = nn.ModuleList(nn.Linear(TOKEN, size) for size in sizes)

    def encode(self, numbers: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent tokens, (b, p + q, TOKEN) each."""
        tokens = [numbers[:, :, None] * self.number_in]
        tokens += [embed(codes[:, place])[:, None] for place, embed in enumerate(self.codes_in)]
        columns = torch.cat(tokens, dim=1) + self.place
        return self.to_mean(columns).float(), self.to_log_variance(columns).float()

    def decode(self, latent: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Numbers (b, p), and logits (b, size) for each column of codes."""
        columns = self.from_latent(latent).float()
        numbers = (columns[:, : self.numbers] * self.number_out).sum(2)
        return numbers, [out(columns[:, self.numbers + place]) for place, out in enumerate(self.codes_out)]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Squared error of the numbers, cross-entropy of the codes, and the divergence from a normal distribution."""
        numbers, codes = batch
        mean, log_variance = self.encode(numbers, codes)
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        guess, logits = self.decode(latent)
        loss = mse_loss(guess, numbers) if self.numbers else guess.new_zeros(())
        if logits:
            loss = loss + torch.stack([cross_entropy(part, codes[:, at]) for at, part in enumerate(logits)]).mean()
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).mean()
        weight = MOST_KL * (LEAST_KL / MOST_KL) ** (batch_idx / self.steps)
        loss = loss + weight * divergence
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self) -> Any:
        """Adam along a cosine."""
        return _adam(self, self.recipe.learning_rate, self.steps)


class LatentDiffusion(Resumable):
    """Denoises latent rows (b, d) at any noise level, preconditioned as by Karras et al. 2022."""

    def __init__(self, size: int, recipe: Recipe, steps: int, seed: int) -> None:
        super().__init__(seed)
        self.size, self.recipe, self.steps, width = size, recipe, steps, recipe.width
        self.project = nn.Linear(size, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.body = nn.Sequential(
            *(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width), nn.SiLU()),
            *(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, size)),
        )

    def forward(self, noisy: Tensor, noise: Tensor) -> Tensor:
        """The clean rows (b, d), as guessed from rows with noise of this deviation, (b, 1)."""
        total = (noise**2 + DATA_DEVIATION**2).sqrt()
        rates = torch.exp(
            -math.log(10_000) * torch.arange(self.recipe.width // 2, device=noise.device) * 2 / self.recipe.width
        )
        angles = noise.log() / 4 * rates
        known = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        guess = self.body(self.project(noisy / total) + known).float()
        return DATA_DEVIATION**2 / total**2 * noisy + noise * DATA_DEVIATION / total * guess

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Weighted squared error of the clean rows, at log-normal noise levels."""
        (clean,) = batch
        noise = torch.exp(1.2 * torch.randn(len(clean), 1, device=clean.device) - 1.2)
        guess = self(clean + noise * torch.randn_like(clean), noise)
        weight = (noise**2 + DATA_DEVIATION**2) / (noise * DATA_DEVIATION) ** 2
        loss = (weight * (guess - clean) ** 2).mean()
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self) -> Any:
        """Adam along a cosine."""
        return _adam(self, self.recipe.learning_rate, self.steps)

    def sample(self, n: int, device: torch.device) -> Tensor:
        """n latent rows, by the stochastic second-order sampler."""
        share = torch.arange(NOISE_STEPS) / (NOISE_STEPS - 1)
        ends = [MOST_NOISE ** (1 / CURVE), LEAST_NOISE ** (1 / CURVE)]
        levels = [*((ends[0] + share * (ends[1] - ends[0])) ** CURVE).tolist(), 0.0]
        rows = torch.randn(n, self.size, device=device) * levels[0]
        churn = min(CHURN / NOISE_STEPS, math.sqrt(2) - 1)
        for now, after in itertools.pairwise(levels):
            raised = now * (1 + churn)
            rows = rows + math.sqrt(raised**2 - now**2) * torch.randn_like(rows)
            slope = (rows - self(rows, torch.full((n, 1), raised, device=device))) / raised
            ahead = rows + (after - raised) * slope
            if after:
                second = (ahead - self(ahead, torch.full((n, 1), after, device=device))) / after
                ahead = rows + (after - raised) * (slope + second) / 2
            rows = ahead
        return rows


def _transformer() -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(TOKEN, 1, FEED_FORWARD, dropout=0.0, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)


def _adam(network: nn.Module, rate: float, steps: int) -> Any:
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
