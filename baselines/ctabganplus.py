"""CTAB-GAN+: a conditional convolutional GAN with a classifier beside it (Zhao et al. 2022)."""

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gumbel_softmax, normalize, pad

from baselines.exchange import refuse_text
from baselines.modes import ModalEncoding, Span
from baselines.network import load_weights, save_weights, train_network
from harmonic.budget import Budget, check_budget, check_minutes, settle, total_steps
from harmonic.errors import BadInput
from harmonic.seed import derive_seed, global_seed
from harmonic.table import schema_of
from harmonic.training import Compute, Resumable, loss_curve, progress_bar

SIDES = (4, 8, 16, 24, 32, 64)
"""Sides of the square a row is laid out in."""
NOISE = 100
CRITIC_STEPS = 5
PENALTY = 10.0
SHARPNESS = 0.2
"""Temperature of the Gumbel softmax."""
SAMPLE_ROWS = 2000


@dataclass(frozen=True)
class Recipe:
    """Networks and training; it trains until both the steps and the epochs are done."""

    steps: int
    """Of the generator; the critic takes CRITIC_STEPS for each."""
    epochs: int = 0
    channels: int = 16
    classifier: tuple[int, ...] = (256, 256, 256, 256)
    batch_size: int = 256
    learning_rate: float = 2e-4


BUDGETS: dict[Budget, Recipe] = {
    "smoke": Recipe(steps=5, channels=4, classifier=(32,), batch_size=64),
    "default": Recipe(steps=1500, learning_rate=5e-4),
    "published": Recipe(0, epochs=150, channels=64, batch_size=500),
}
"""Published is the authors' repository."""


class CtabGanPlus:
    """Rows laid out as small images, a Wasserstein critic with gradient penalty, and losses that a classifier and the
    critic's statistics add.

    Our implementation, from the paper and its repository's settings. It differs in what it decides by itself: a column
    with one mode gets the general transform, a value that a tenth of the cells hold is a mode of its own, and numbers
    beyond train's range are put at its end, where the authors ask the user and draw again. The logarithm that they let the
    user ask for on long tails is left out. The classifier serves classifications alone. Losses are the paper's: in the
    repository the critic's score passes a ReLU, the penalty's gradient is measured place by place instead of row by row,
    and the generator takes a step for the classifier's loss after that for the others.

    Args:
        budget: smoke, default or published, see `BUDGETS`.
        steps: training steps of the generator, instead of the budget's.
        max_minutes: end training after this long.
        compute: device, precision, checkpoints.
    """

    version = 2
    """Of training: the second draws a number's mode by the modes' weights, too."""

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
        """Train generator, critic and classifier; a run that was killed resumes from `work_dir`."""
        refuse_text(schema_of(train), "ctabganplus")
        self.encoding = ModalEncoding.fit(train, derive_seed(seed, "modes"))
        rows = torch.from_numpy(self.encoding.encode(train, np.random.default_rng(derive_seed(seed, "encode"))))
        steps = total_steps(self.recipe.steps, self.recipe.epochs, len(train), self.recipe.batch_size)
        self.network, run = train_network(
            lambda: Gan(self.encoding, self.recipe, derive_seed(seed, "batches"), rows),
            lambda number: torch.tensor(number),
            steps,
            self.compute,
            what="ctabganplus",
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

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows, under conditions drawn as in train."""
        self.network.to(self.compute.device)
        parts = []
        with progress_bar("ctabganplus sampling", n) as bar, global_seed(seed), torch.inference_mode():
            while bar.n < n:
                size = min(SAMPLE_ROWS, n - bar.n)
                parts.append(self.network.sample(size).cpu().numpy())
                bar.update(size)
        return self.encoding.decode(np.concatenate(parts))

    def save(self, folder: Path) -> None:
        """The generator, the modes, and how frequent each condition is; no row of train."""
        save_weights(self.network.generator, folder)
        self.encoding.save(folder)
        frequencies = [part.tolist() for part in self.network.frequencies]
        state = {"recipe": asdict(self.recipe), "frequencies": frequencies, "report": self.report}
        (folder / "method.json").write_text(json.dumps(state))

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        state = json.loads((folder / "method.json").read_text())
        self.encoding, self.report = ModalEncoding.load(folder), state["report"]
        recipe = Recipe(**{**state["recipe"], "classifier": tuple(state["recipe"]["classifier"])})
        self.network = Gan(self.encoding, recipe, 0)
        self.network.frequencies = [torch.tensor(part) for part in state["frequencies"]]
        load_weights(self.network.generator, folder)
        self.network.eval()
        return self


class Gan(Resumable):
    """The three networks. Rows are encodings (b, w); a condition is a one-hot over all choices of all columns (b, k).

    Args:
        encoding: what the places of a row mean.
        recipe: sizes and training.
        seed: of the batches.
        rows: train, encoded, (n, w); for training alone.
    """

    def __init__(self, encoding: ModalEncoding, recipe: Recipe, seed: int, rows: Tensor | None = None) -> None:
        super().__init__(seed)
        self.automatic_optimization = False
        self.recipe, self.width = recipe, encoding.width
        self.spans = [span for spans in encoding.spans for span in spans]
        self.choices = [span for span in self.spans if span.is_choice]
        if not self.choices:
            raise BadInput("method=ctabganplus needs a column of categories or of several modes, but the table has none.")
        self.offsets = np.cumsum([0, *(span.size for span in self.choices)]).tolist()
        self.target: Span | None = None
        if encoding.schema.task != "regression":
            self.target = encoding.spans[encoding.schema.names.index(encoding.schema.target)][0]
        row_side, critic_side = _side(self.width), _side(self.width + self.offsets[-1])
        self.generator = _generator(row_side, NOISE + self.offsets[-1], recipe.channels)
        self.critic = _critic(critic_side, recipe.channels)
        self.critic_side = critic_side
        self.judge = nn.Conv2d(*_judge_shape(critic_side, recipe.channels))
        self.classifier = (
            _classifier(self.width - self.target.size, recipe.classifier, self.target.size) if self.target else None
        )
        self.apply(_start)
        self.frequencies: list[Tensor] = []
        if rows is not None:
            self.rows = rows
            codes = [rows[:, span.start : span.start + span.size].argmax(1) for span in self.choices]
            counts = [torch.bincount(code, minlength=span.size) for code, span in zip(codes, self.choices, strict=True)]
            self.frequencies = [count / len(rows) for count in counts]
            self.held = [
                [torch.nonzero(code == number)[:, 0] for number in range(span.size)]
                for code, span in zip(codes, self.choices, strict=True)
            ]
            softened = [torch.log(count + 1.0) * (count > 0) for count in counts]
            self.softened = [part / part.sum() for part in softened]

    def _condition(self, n: int, weights: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """One choice of one column for each row: the one-hot (n, k), the column (n,) and the choice (n,)."""
        column = torch.randint(len(self.choices), (n,))
        drawn = torch.stack([torch.multinomial(part.float(), n, replacement=True) for part in weights])
        choice = drawn[column, torch.arange(n)]
        hot = torch.zeros(n, self.offsets[-1])
        hot[torch.arange(n), torch.tensor(self.offsets)[column] + choice] = 1
        return hot.to(self.device), column, choice

    def _real(self, column: Tensor, choice: Tensor) -> Tensor:
        """A train row for each condition, (b, w)."""
        numbers = [self.held[at][to] for at, to in zip(column.tolist(), choice.tolist(), strict=True)]
        chosen = [
            held[int(share * len(held))] for held, share in zip(numbers, torch.rand(len(numbers)).tolist(), strict=True)
        ]
        return self.rows[torch.stack(chosen)].to(self.device)

    def _made(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (b, w) as they count, and before activation."""
        noise = torch.randn(len(condition), NOISE, device=self.device)
        raw = self.generator(torch.cat([noise, condition], dim=1)[:, :, None, None]).flatten(1)[:, : self.width].float()
        parts = [
            gumbel_softmax(raw[:, span.start : span.start + span.size], tau=SHARPNESS)
            if span.is_choice
            else torch.tanh(raw[:, span.start : span.start + span.size])
            for span in self.spans
        ]
        return torch.cat(parts, dim=1), raw

    def _judged(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's score of rows with their conditions (b,), and what it saw before scoring (b, f)."""
        side = self.critic_side
        image = pad(rows, (0, side * side - rows.shape[1])).reshape(-1, 1, side, side)
        seen = self.critic(image)
        return self.judge(seen).flatten().float(), seen.flatten(1).float()

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """Five steps of the critic, one of the generator, one of the classifier."""
        generator, critic, classifier = self.optimizers()
        size = self.recipe.batch_size
        for _ in range(CRITIC_STEPS):
            condition, column, choice = self._condition(size, self.softened)
            mixed = torch.randperm(size)
            real = self._real(column[mixed], choice[mixed])
            with torch.no_grad():
                made, _ = self._made(condition)
            real_seen, made_seen = torch.cat([real, condition[mixed]], 1), torch.cat([made, condition], 1)
            loss = self._judged(made_seen)[0].mean() - self._judged(real_seen)[0].mean()
            critic.zero_grad()
            self.manual_backward(loss + self._penalty(real_seen, made_seen))
            critic.step()
        self.losses.append(float(loss.detach()))
        condition, column, choice = self._condition(size, self.softened)
        made, raw = self._made(condition)
        score, statistics = self._judged(torch.cat([made, condition], 1))
        with torch.no_grad():
            _, real_statistics = self._judged(real_seen)
        information = (statistics.mean(0) - real_statistics.mean(0)).norm(1) + (
            statistics.std(0) - real_statistics.std(0)
        ).norm(1)
        loss = self._disobedience(raw, column, choice) + information - score.mean()
        if self.classifier is not None:
            loss = loss + self._misfit(made)
        generator.zero_grad()
        self.manual_backward(loss)
        generator.step()
        if self.classifier is not None:
            classifier.zero_grad()
            self.manual_backward(self._misfit(real))
            classifier.step()

    def _penalty(self, real: Tensor, made: Tensor) -> Tensor:
        """Gradient penalty at points between real and made rows on the sphere."""
        share = torch.rand(len(real), 1, device=self.device)
        cosine = (normalize(real) * normalize(made)).sum(1, keepdim=True).clamp(-0.9999, 0.9999)
        angle = torch.acos(cosine)
        between = (torch.sin((1 - share) * angle) * real + torch.sin(share * angle) * made) / torch.sin(angle)
        between = between.detach().requires_grad_()
        score, _ = self._judged(between)
        (slope,) = torch.autograd.grad(score.sum(), between, create_graph=True)
        return PENALTY * ((slope.norm(2, dim=1) - 1) ** 2).mean()

    def _disobedience(self, raw: Tensor, column: Tensor, choice: Tensor) -> Tensor:
        """Cross-entropy of the choice that was asked for."""
        losses = []
        for place, span in enumerate(self.choices):
            asked = torch.nonzero(column == place)[:, 0]
            if len(asked):
                logits = raw[asked, span.start : span.start + span.size]
                losses.append(cross_entropy(logits, choice[asked].to(self.device), reduction="sum"))
        return torch.stack(losses).sum() / len(raw)

    def _misfit(self, rows: Tensor) -> Tensor:
        """Cross-entropy of the rows' class under the classifier."""
        assert self.target is not None and self.classifier is not None
        start, stop = self.target.start, self.target.start + self.target.size
        others = torch.cat([rows[:, :start], rows[:, stop:]], dim=1)
        return cross_entropy(self.classifier(others).float(), rows[:, start:stop].argmax(1))

    def configure_optimizers(self) -> Any:
        """Adam for each of the three, as published; the classifier's idles where there is none."""
        critic = [*self.critic.parameters(), *self.judge.parameters()]
        classifier = self.classifier.parameters() if self.classifier is not None else [nn.Parameter(torch.zeros(1))]
        settings: dict[str, Any] = {"lr": self.recipe.learning_rate, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 1e-5}
        return [torch.optim.Adam(part, **settings) for part in (self.generator.parameters(), critic, classifier)]

    def sample(self, n: int) -> Tensor:
        """Rows (n, w), under conditions as frequent as in train."""
        condition, _, _ = self._condition(n, self.frequencies)
        return self._made(condition)[0]


def _side(width: int) -> int:
    """The smallest square that holds a row."""
    for side in SIDES:
        if side * side >= width:
            return side
    raise BadInput(
        f"method=ctabganplus lays a row out in at most {SIDES[-1] ** 2} places, but this table needs {width}: leave out "
        f"columns with many categories (dataset.drop), or use another method."
    )


def _levels(side: int, channels: int) -> list[tuple[int, int]]:
    """(channels, side) of each level, from the row down."""
    levels = [(1, side), (channels, side // 2)]
    while levels[-1][1] > 3 and len(levels) < 4:
        levels.append((levels[-1][0] * 2, levels[-1][1] // 2))
    return levels


def _critic(side: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    levels = _levels(side, channels)
    for (above, _), (below, small) in itertools.pairwise(levels):
        layers += [nn.Conv2d(above, below, 4, 2, 1, bias=False), nn.LayerNorm([below, small, small]), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def _judge_shape(side: int, channels: int) -> tuple[int, int, int]:
    deepest, small = _levels(side, channels)[-1]
    return deepest, 1, small


def _generator(side: int, noise: int, channels: int) -> nn.Sequential:
    levels = _levels(side, channels)[::-1]
    layers: list[nn.Module] = [nn.ConvTranspose2d(noise, levels[0][0], levels[0][1], 1, 0, bias=False)]
    for (below, small), (above, _) in itertools.pairwise(levels):
        layers += [nn.LayerNorm([below, small, small]), nn.ReLU(), nn.ConvTranspose2d(below, above, 4, 2, 1)]
    return nn.Sequential(*layers)


def _classifier(width: int, sizes: tuple[int, ...], classes: int) -> nn.Sequential:
    widths = [width, *sizes]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def _start(module: nn.Module) -> None:
    """DCGAN's starting weights."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
