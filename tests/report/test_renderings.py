"""The paper's tables as files. Oracles: hand computation, LaTeX's own list of special characters, and repetition."""

import re

import pandas as pd
import pytest

from harmonic.report.comparison import compare
from harmonic.report.layouts import LAYOUTS, PRIVACY, UTILITY
from harmonic.report.renderings import escape, frame, latex, long, markdown
from tests.report.records import record

STRANGE = "a_b & <script> | 50 % {x} #1 $y$ ~^\\ ß é 日"


def records():
    """Two methods of three seeds that a test tells apart, and one with a strange name."""
    made = [record(STRANGE, dataset="strange <b>|", mle_f1_weighted=0.5, dlt=-0.25)]
    for name, mean in (("smote", 0.8), ("tvae", 0.7), ("ctgan", 0.6)):
        made += [record(name, seed, mle_f1_weighted=mean + 0.001 * seed * seed) for seed in range(3)]
    return made


def blocks(layout=UTILITY):
    return compare(records(), layout)


def test_markdown_marks_by_hand():
    """Oracle: by hand: .8, .801 and .804 have the mean .802 and the deviation .002."""
    german = markdown(blocks(), UTILITY).partition("## german")[2].partition("## adult")[0]
    lines = {line.split("|")[1].strip(): line for line in german.splitlines() if line.startswith("| ")}
    assert "| **0.802 ± 0.002** |" in lines["smote"]
    assert "| _0.702 ± 0.002_ " in lines["tvae"]
    assert "| 0.602 ± 0.002 " in lines["ctgan"]


def test_a_name_stays_in_its_cell():
    """Oracle: Markdown's grammar: as many unescaped bars in every row as in the head, and no tag."""
    text = markdown(blocks(), UTILITY)
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert counts == {15}
    assert "<" not in text


def test_every_figure_has_a_line():
    """Oracle: by hand: as many lines as cells that are asked for; numbers as they are, marks beside them."""
    table = long(blocks(), UTILITY)
    assert len(table) == sum(len(block.lines) for block in blocks()) * len(UTILITY.columns)
    ours = table[(table["dataset"] == "german") & (table["score"] == "MLE") & (table["form"] == "corrected")].set_index(
        "method"
    )
    assert ours.loc["smote", "mean"] == pytest.approx(2.405 / 3, abs=1e-6)
    assert ours.loc[["smote", "tvae", "ctgan"], "mark"].tolist() == ["best", "second", ""]
    assert ours.loc["great", "state"] == "hole"
    assert pd.isna(ours.loc["great", "mean"])
    paper = table[(table["form"] == "paper") & (table["score"] == "LLE") & (table["method"] == "great")].set_index("dataset")
    assert paper.loc["german", ["mean", "sd"]].tolist() == [0.55, 0.11]


def test_headings_name_score_and_form():
    """Oracle: by hand: no two columns of a table are called the same, and no form stands for another."""
    for layout in LAYOUTS:
        titles = frame(compare(records(), layout)[0], layout).columns
        assert titles.is_unique
    assert "DLT, as published, train - test" in frame(blocks(PRIVACY)[0], PRIVACY).columns


def test_special_characters_of_latex():
    """Oracle: LaTeX's list; what its fonts lack is named by number."""
    assert escape(r"a_b & 50 % {x} #1 $y$") == r"a\_b \& 50 \% \{x\} \#1 \$y\$"
    assert escape("\\") == r"\textbackslash{}"
    assert escape("~^<>|") == r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"
    assert escape("é 日\x00") == "é U+65E5U+0000"
    assert escape("0.5 ± 0.1 –") == r"0.5 $\pm$ 0.1 --"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_latex_is_balanced(layout):
    """Oracle: LaTeX's grammar: a cell for each column in every row, and as many braces closed as opened."""
    text = latex(blocks(layout), layout)
    (spec,) = {len(found) for found in re.findall(r"\\begin{tabular}{@{}([lr]+)@{}}", text)}
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    for row in rows:
        covered = sum(int(width) - 1 for width in re.findall(r"\\multicolumn{(\d+)}", row))
        assert len(re.findall(r"(?<!\\)&", row)) + 1 + covered == spec
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert text.isascii() or set(re.sub(r"[\x00-\x7f]", "", text)) <= set("éß")


def test_latex_marks_and_minus():
    """Oracle: by hand."""
    text = latex(blocks(), UTILITY)
    assert r"\textbf{0.802 $\pm$ 0.002}" in text
    assert r"\underline{0.702 $\pm$ 0.002}" in text
    assert "& $-$0.250 &" in latex(blocks(PRIVACY), PRIVACY)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_same_text_twice(layout):
    """Oracle: repetition."""
    for render in (markdown, latex):
        assert render(blocks(layout), layout) == render(blocks(layout), layout)
