"""Plots, as figures that are saved as SVG or PNG.

Matplotlib is imported when the first one is drawn. Names come from records: none is read as mathematics.
"""

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harmonic.report.significance import LEVEL, Ranking
from harmonic.report.tradeoff import NOTHING_LEAKS, PRIVACY, UTILITY, Kind, Tradeoff

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the reader's text colour, which the SVG takes from its surroundings."""
QUIET = "#8a8a8a"
COLOURS: dict[Kind, str] = {"harmonic": "#d9541e", "other": "#2f7fb5", "reference": QUIET}
MARKERS: dict[Kind, str] = {"harmonic": "o", "other": "o", "reference": "D"}
STEPS = 500
"""In which names find their places at most: a count, not a time, so that the same points give the same plot."""
ROOM = (1.3, 1.9)
"""Times its own width and height that a name keeps free of others and of points."""
LONGEST = 30
"""Signs of a name that are shown."""
THEME = "<style>svg{color:#1c1c1c}@media(prefers-color-scheme:dark){svg{color:#e4e4e4}}</style>"
SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "harmonic",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a box stands for it
        yield


def _styled(draw: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    @wraps(draw)
    def styled(*arguments: Any) -> "Figure":
        with _style():
            return draw(*arguments)

    return styled


def _axes(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure of so many inches with one pair of axes, without lines on the right and above."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


@_styled
def draw_tradeoff(found: Tradeoff) -> "Figure":
    """A point per method with its bars, the front as a line, and what leaks nothing as another."""
    figure, axes = _axes(9, 6.2)
    axes.axhline(NOTHING_LEAKS, color=QUIET, linewidth=0.8, linestyle=":", zorder=0)
    front = found.front
    axes.plot(
        [p.x.mean for p in front], [p.y.mean for p in front], color=INK, linewidth=0.9, linestyle="--", alpha=0.5, zorder=1
    )
    for point in found.points:
        colour, filled = COLOURS[point.kind], point.kind != "reference"
        axes.errorbar(
            point.x.mean,
            point.y.mean,
            xerr=[[point.x.mean - point.x.low], [point.x.high - point.x.mean]],
            yerr=[[point.y.mean - point.y.low], [point.y.high - point.y.mean]],
            fmt=MARKERS[point.kind],
            color=colour,
            markerfacecolor=colour if filled else "none",
            markersize=6,
            elinewidth=0.7,
            ecolor=(colour, 0.4),
            zorder=3,
        )
    axes.set_xlabel(UTILITY[found.x])
    axes.set_ylabel(PRIVACY[found.y])
    axes.margins(0.1)
    _write_names(figure, axes, found)
    return figure


def _write_names(figure: "Figure", axes: "Axes", found: Tradeoff) -> None:
    """Each point's name beside it, clear of points and bars, with a thin line where it had to stand off."""
    from adjustText import adjust_text

    figure.canvas.draw()
    figure.set_layout_engine("none")  # what was measured stays where it is
    texts = [axes.text(p.x.mean, p.y.mean, shorten(p.name), fontsize=9, color=COLOURS[p.kind]) for p in found.points]
    crosses = [
        ends
        for p in found.points
        for ends in (
            (p.x.mean, p.y.mean),
            (p.x.low, p.y.mean),
            (p.x.high, p.y.mean),
            (p.x.mean, p.y.low),
            (p.x.mean, p.y.high),
        )
    ]
    x, y = zip(*crosses, strict=True)
    line = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.5}
    adjust_text(
        texts,
        x,
        y,
        target_x=[p.x.mean for p in found.points],
        target_y=[p.y.mean for p in found.points],
        ax=axes,
        expand=ROOM,
        iter_lim=STEPS,
        arrowprops=line,
    )


@_styled
def draw_ranks(ranking: Ranking) -> "Figure":
    """Mean ranks on a line, the best on the left; bars join what Nemenyi's test does not tell apart (Demšar 2006)."""
    k = len(ranking.methods)
    half = math.ceil(k / 2)
    figure, axes = _axes(9, 1.3 + 0.28 * half)
    axes.set_axis_off()
    low, high = 1, k
    axes.set_xlim(low - 0.36 * (high - low) - 0.1, high + 0.36 * (high - low) + 0.1)
    cliques = cliques_of(ranking) if ranking.p_value < LEVEL else []
    first = -0.5 - 0.3 * len(cliques)
    axes.set_ylim(first - half, 2.2)
    axes.plot([low, high], [0, 0], color=INK, linewidth=1)
    for tick in range(low, high + 1):
        axes.plot([tick, tick], [0, 0.2], color=INK, linewidth=1)
        axes.text(tick, 0.3, str(tick), ha="center", va="bottom", fontsize=9)
    width = min(ranking.critical_difference, high - low)
    axes.plot([low, low + width], [1.5, 1.5], color=QUIET, linewidth=2)
    note = f"critical difference {ranking.critical_difference:.2f}"
    note += " (more than there are ranks)" if ranking.critical_difference > high - low else ""
    axes.text(low, 1.62, note, ha="left", va="bottom", fontsize=9)
    for place_, (name, mean) in enumerate(zip(ranking.methods, ranking.mean_ranks, strict=True)):
        is_left = place_ < half
        y = first - (place_ if is_left else k - 1 - place_)
        edge = low - 0.03 * (high - low) if is_left else high + 0.03 * (high - low)
        axes.plot([mean, mean, edge], [0, y, y], color=INK, linewidth=0.7)
        side = "right" if is_left else "left"
        axes.text(edge, y, f" {shorten(name)} ({mean:.2f}) ", ha=side, va="center", fontsize=9)
    for level, (start, end) in enumerate(cliques):
        y = -0.3 * (level + 1)
        ends = [ranking.mean_ranks[start] - 0.04, ranking.mean_ranks[end] + 0.04]
        axes.plot(ends, [y, y], color=COLOURS["harmonic"], linewidth=3, solid_capstyle="round")
    return figure


def cliques_of(ranking: Ranking) -> list[tuple[int, int]]:
    """First and last of each longest run of two methods or more whose mean ranks are within the critical difference."""
    ranks, runs, reached = ranking.mean_ranks, [], 0
    for start in range(len(ranks)):
        end = max(j for j in range(start, len(ranks)) if ranks[j] - ranks[start] < ranking.critical_difference)
        if end > start and end > reached:
            runs.append((start, end))
            reached = end
    return runs


@_styled
def draw_shapes(methods: Sequence[str], columns: Sequence[str], scores: np.ndarray) -> "Figure":
    """A heat map of column shapes, methods by columns, shape (m, c); NaN leaves a field empty."""
    rows, heads = ([shorten(name) for name in names] for names in (methods, columns))
    beside, below = (max(map(len, names), default=0) for names in (rows, heads))
    figure, axes = _axes(1.6 + 0.09 * beside + 0.55 * len(columns), 0.8 + 0.07 * below + 0.28 * len(methods))
    known = scores[~np.isnan(scores)]
    low = min(0.5, math.floor(known.min() * 10) / 10) if len(known) else 0.5
    image = axes.imshow(np.ma.masked_invalid(scores), cmap="viridis", vmin=low, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)))
    axes.set_xticklabels(heads, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(methods)))
    axes.set_yticklabels(rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (row, column), score in np.ndenumerate(scores):
        if not np.isnan(score):
            dark = (score - low) / (1 - low) < 0.6
            text = f"{score:.2f}".removeprefix("0")
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color="#ffffff" if dark else "#111111")
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    bar.outline.set_visible(False)
    return figure


def shorten(name: str) -> str:
    """A name that fits beside a point or a line."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def to_svg(figure: "Figure") -> str:
    """The figure as one SVG element that takes the text colour of a light or a dark page."""
    buffer = io.StringIO()
    with _style():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    start = text.index("<svg")
    end = text.index(">", start) + 1
    return text[start:end] + THEME + text[end:].replace(INK, "currentColor")


def save_png(figure: "Figure", path: Path) -> None:
    """The figure as a picture on white."""
    with _style():
        figure.savefig(path, format="png", dpi=130, facecolor="white", metadata={"Software": None})
