"""Pieces of HTML. Every text that is given here is escaped here; what is called markup is taken as it is."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from harmonic.report.entries import FAILED, HOLE

NUMBER = re.compile(r"-?\d+(\.\d+)?( ± \d+(\.\d+)?)?")

KINDS = {FAILED: "failed", HOLE: "hole"}
LONG = 80
"""Signs from which on a cell takes several lines."""


@dataclass(frozen=True)
class Text:
    """A table's cell."""

    text: str
    href: str = ""
    mark: str = ""
    """best or second."""

    def markup(self, is_aligned: bool = False) -> str:
        """The cell's element; aligned are those of a column of numbers."""
        inner = escape(self.text)
        if self.href:
            inner = f'<a href="{escape(self.href)}">{inner}</a>'
        inner = {"best": f"<strong>{inner}</strong>", "second": f"<u>{inner}</u>"}.get(self.mark, inner)
        kinds = ["number"] if is_aligned else ["long"] if len(self.text) > LONG else []
        kinds += [KINDS[self.text]] if self.text in KINDS else []
        return f'<td class="{" ".join(kinds)}">{inner}</td>' if kinds else f"<td>{inner}</td>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Text]],
    groups: Sequence[tuple[str, int]] = (),
    *,
    name: str,
    is_prose: bool = False,
) -> str:
    """A table that scrolls by itself where it is wider than the page, by keys too.

    Args:
        head: headings.
        rows: cells.
        groups: headings above the headings, with how many columns each covers.
        name: what a screen reader calls it.
        is_prose: whether cells are sentences, which take several lines.
    """
    above = "".join(f'<th colspan="{width}" scope="colgroup">{escape(name)}</th>' for name, width in groups)
    above = f'<tr class="groups">{above}</tr>' if above else ""
    aligned = [_is_aligned([row[place].text for row in rows]) for place in range(len(head))]
    heads = "".join(
        f'<th scope="col" class="number">{escape(name)}</th>' if is_aligned else f'<th scope="col">{escape(name)}</th>'
        for name, is_aligned in zip(head, aligned, strict=True)
    )
    cells = ("".join(cell.markup(is_aligned) for cell, is_aligned in zip(row, aligned, strict=True)) for row in rows)
    lines = "".join(f"<tr>{line}</tr>" for line in cells)
    whole = f"<table><thead>{above}<tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    return _wide(whole, name, " prose" if is_prose else "")


def _wide(markup: str, name: str, kind: str = "") -> str:
    """A box that scrolls sideways, by keys too."""
    return f'<div class="wide{kind}" tabindex="0" role="region" aria-label="{escape(name)}">{markup}</div>'


def _is_aligned(texts: Sequence[str]) -> bool:
    """Whether a column holds numbers, or what stands in their place, and nothing else."""
    said = {text for text in texts if text}
    return bool(said) and all(text in KINDS or NUMBER.fullmatch(text) for text in said)


def picture(svg: str, title: str, caption: str) -> str:
    """A figure that holds its picture; the caption says in words what it is."""
    data = base64.b64encode(svg.encode()).decode()
    image = f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{_wide(image, title)}<figcaption>{escape(caption)}</figcaption></figure>"


def note(text: str) -> str:
    """A paragraph whose *words*, **words** and _several words_ between such signs are set apart."""
    markup = escape(text)
    markup = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", markup)
    markup = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", markup)
    markup = re.sub(r"(?<!\w)_([^_]+)_(?!\w)", r"<u>\1</u>", markup)
    return f"<p>{markup}</p>"


def link(path: str) -> str:
    """A link to a file by its path, relative to the page."""
    return f'<a href="{escape(quote(path))}">{escape(path)}</a>'


def section(identity: str, title: str, *parts: str, level: int = 2) -> str:
    """A section with its heading."""
    return f'<section id="{identity}"><h{level}>{escape(title)}</h{level}>{"".join(parts)}</section>'


def details(summary: str, text: str) -> str:
    """Text that is shown when it is asked for, as it was typed."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
