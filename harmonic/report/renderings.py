"""The paper's tables as files: Markdown to read, CSV to compute with, LaTeX to print."""

import unicodedata
from collections.abc import Sequence

import pandas as pd

from harmonic.report.comparison import Block, Line
from harmonic.report.entries import Entry
from harmonic.report.layouts import Layout
from harmonic.report.published import published
from harmonic.report.significance import Mark
from harmonic.report.tables import COSTS, plain, to_markdown

SIGNS: dict[Mark, str] = {"": "{}", "best": "**{}**", "second": "_{}_"}
COMMANDS: dict[Mark, str] = {"": "{}", "best": "\\textbf{{{}}}", "second": "\\underline{{{}}}"}
TEXTS = {"method": "method", "paper": "in the paper", "model": "model", "rows": "rows", "seeds": "seeds", "budget": "budget"}
"""A line's texts and their headings."""
COST_TITLES = tuple(cost.title for cost in COSTS)
ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: rf"\{sign}" for sign in "#$%&_"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "*": "{*}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "–": "--",
    "²": r"$^2$",
    "\n": " ",
}
LATEX = r"""%% Written by scripts/make_tables.py. Each table can be copied, with booktabs, graphicx and \newsavebox{\wide}.
\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[a4paper,landscape,margin=12mm]{geometry}
\usepackage{booktabs,graphicx}
\newsavebox{\wide}
\begin{document}
\section*{%(title)s}
%(notes)s
%(tables)s
\end{document}
"""


def frame(block: Block, layout: Layout, signs: dict[Mark, str] = SIGNS) -> pd.DataFrame:
    """A data set's part as text, a column for each column; marked cells in signs."""
    titles = [f"{column.score}, {column.title}" for column in layout.columns]
    return pd.DataFrame(
        [
            {
                **{heading: getattr(line, name) for name, heading in TEXTS.items()},
                **{title: _signed(entry, signs) for title, entry in zip(titles, line.entries, strict=True)},
                **{title: entry.text for title, entry in zip(COST_TITLES, line.costs, strict=True)},
            }
            for line in block.lines
        ]
    )


def _signed(entry: Entry, signs: dict[Mark, str]) -> str:
    return signs[entry.mark].format(entry.text)


def markdown(blocks: Sequence[Block], layout: Layout) -> str:
    """The table as Markdown, a section per data set."""
    parts = [f"# {layout.title}", *layout.notes, f"The paper's figures: {published().source}."]
    for block in blocks:
        parts += [f"## {plain(block.dataset)}", to_markdown(frame(block, layout))]
    return "\n\n".join(parts) + "\n"


def long(blocks: Sequence[Block], layout: Layout) -> pd.DataFrame:
    """The table with a line for each figure: numbers by themselves, six digits behind the point.

    state is value, hole or failed; a cell that is asked of no such row has no line. sd is empty of one seed, and where the
    paper prints none.
    """
    return pd.DataFrame(
        [
            {
                "dataset": block.dataset,
                **{name: getattr(line, name) for name in TEXTS},
                "score": column.score,
                "form": column.form,
                "reading": column.reading,
                "state": entry.state,
                "mean": _rounded(entry.mean) if entry.state == "value" else None,
                "sd": None if entry.sd is None else _rounded(entry.sd),
                "mark": entry.mark,
            }
            for block in blocks
            for line in block.lines
            for column, entry in zip(layout.columns, line.entries, strict=True)
            if entry.state != "none"
        ]
    )


def _rounded(value: float) -> float:
    return round(value, 6) + 0.0  # no -0.0


def latex(blocks: Sequence[Block], layout: Layout) -> str:
    """The table as a document that compiles by itself, a tabular per data set, shrunk to the page where it is wider."""
    notes = [*layout.notes, f"The paper's figures: {published().source}."]
    return LATEX % {
        "title": escape(layout.title),
        "notes": "\n\n".join(escape(_unsigned(note)) for note in notes),
        "tables": "\n".join(_tabular(block, layout) for block in blocks),
    }


def _unsigned(note: str) -> str:
    """A note without Markdown's emphasis; what it says of marks is true of LaTeX's too."""
    return note.replace("**best**", "best (bold)").replace("_second best_", "second best (underlined)").replace("*", "")


def _tabular(block: Block, layout: Layout) -> str:
    spec = "l" * len(TEXTS) + "r" * (len(layout.columns) + len(COST_TITLES))
    scores = list(dict.fromkeys(column.score for column in layout.columns))
    widths = [sum(column.score == score for column in layout.columns) for score in scores]
    places = [len(TEXTS) + 1 + sum(widths[:i]) for i in range(len(scores))]
    groups = [rf"\multicolumn{{{width}}}{{c}}{{{score}}}" for score, width in zip(scores, widths, strict=True)]
    rules = [rf"\cmidrule(lr){{{place}-{place + width - 1}}}" for place, width in zip(places, widths, strict=True)]
    heads = [*TEXTS.values(), *(column.title for column in layout.columns), *COST_TITLES]
    return "\n".join(
        [
            r"\begin{table}[ht]",
            rf"\centering \textbf{{{escape(block.dataset)}}}\par\smallskip",
            rf"\begin{{lrbox}}{{\wide}}\begin{{tabular}}{{@{{}}{spec}@{{}}}}",
            r"\toprule",
            " & ".join([*[""] * len(TEXTS), *groups, *[""] * len(COST_TITLES)]) + r" \\",
            " ".join(rules),
            " & ".join(map(escape, heads)) + r" \\",
            r"\midrule",
            *(_row(line) for line in block.lines),
            r"\bottomrule",
            r"\end{tabular}\end{lrbox}",
            r"\ifdim\wd\wide>\linewidth\resizebox{\linewidth}{!}{\usebox{\wide}}\else\usebox{\wide}\fi",
            r"\end{table}",
        ]
    )


def _row(line: Line) -> str:
    texts = [escape(getattr(line, name)) for name in TEXTS]
    entries = [COMMANDS[entry.mark].format(_number(entry)) for entry in (*line.entries, *line.costs)]
    return " & ".join([*texts, *entries]) + r" \\"


def _number(entry: Entry) -> str:
    """A cell's text, with a minus rather than a hyphen."""
    text = escape(entry.text)
    return f"$-${text[1:]}" if entry.state == "value" and text.startswith("-") else text


def escape(text: str) -> str:
    """Text as LaTeX sets it; a character that its fonts may lack by its number."""
    return "".join(ESCAPES.get(sign, sign if _is_common(sign) else f"U+{ord(sign):04X}") for sign in text)


def _is_common(sign: str) -> bool:
    """Whether every LaTeX has it: ASCII, and Latin letters with one accent."""
    base = unicodedata.normalize("NFD", sign)[0]
    return base.isascii() and base.isprintable() and ord(sign) < 0x100
