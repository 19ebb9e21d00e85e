"""What the paper's two tables hold: each score in three forms, and what a reader must know of it."""

from dataclasses import dataclass
from typing import Literal

from harmonic.report.significance import LEAST_SEEDS

Form = Literal["paper", "published", "corrected"]


@dataclass(frozen=True)
class Column:
    """A column of the paper's tables."""

    score: str
    """MLE, LLE, DCR, NRS or DLT; columns of one score stand side by side."""
    form: Form
    keys: tuple[str, ...]
    """Of the score in a record, the first that any record of a data set has; of the paper's figure, its name there."""
    ideal: float | str | None = None
    """A number, or the key of the hold-out's own score, that the best is nearest to; None where greater is better."""
    reading: str = ""
    """Which of two readings of the published form."""
    is_compared: bool = True
    """Whether the best is marked."""
    places: int = 3

    @property
    def title(self) -> str:
        """The form, as a heading."""
        title = "as published" if self.form == "published" else self.form
        return f"{title}, {self.reading}" if self.reading else title

    @property
    def holdout(self) -> str:
        """Key of the hold-out's own score; empty where it has none."""
        return self.ideal if isinstance(self.ideal, str) else ""


@dataclass(frozen=True)
class Layout:
    """What one of the paper's tables holds and says."""

    name: str
    """Of its files."""
    title: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def _paper(score: str) -> Column:
    return Column(score, "paper", (score.lower(),), is_compared=False, places=2)


NOTES = (
    "*paper* is the printed figure. *as published* is the metric as the authors' code computes it: it alone compares "
    "with the paper's figure. *corrected* is the metric without its faults: it alone says which rows are better. Ours "
    "are means and, from two seeds on, ± standard deviations (n - 1); – is a figure that is not there, *failed* one "
    "that a cell failed on, and nothing is averaged around either. Seconds with and without a GPU have no mean.",
    "copy is train itself, the paper's Original; independent has its columns drawn one by one; holdout are real rows "
    "that nobody trained on. Others are read against them. harmonic_published does what the authors' code does, "
    "harmonic is ours. Where the paper has CTAB-GAN we have its successor CTAB-GAN+; its GReaT is on distilgpt2, its "
    "HARMONIC on LLaMA-2-7b-chat. Ours are on the model named, and trained for as long as the budget says.",
    "**best** and _second best_ are marked where they are better than every other method of as many rows that shares "
    f"at least {LEAST_SEEDS} seeds with them, by paired t-tests over those seeds at .05 after Holm. Nothing is marked "
    "where a method with fewer seeds comes into their range, or where two methods were measured in two ways. Few seeds "
    "show large differences alone: no mark is no sign of equality. Seeds move fits and rows; the test rows of the paper's "
    "tables stay the same (154 on diabetes, 200 on german), and a mark speaks of those alone: other rows of the same source "
    "may order two near methods otherwise.",
)
"""Of both tables, in Markdown's signs for emphasis."""

UTILITY = Layout(
    "table1",
    "Table 1: utility",
    (
        _paper("MLE"),
        Column("MLE", "published", ("mle_published",)),
        Column("MLE", "corrected", ("mle_f1_weighted", "mle_r2")),
        _paper("LLE"),
        Column("LLE", "published", ("lle_published",)),
        Column("LLE", "corrected", ("lle_f1_weighted", "lle_r2")),
    ),
    (
        "MLE is what four models learn from the rows, LLE what a language model learns, tested on real rows: weighted "
        "F1 (R² of a numeric target), greater is better. The paper's MLE of Original is on another scale than the rest "
        "of its table, below most synthetic rows and, on german and adult, below the majority class: it is no ceiling.",
        *NOTES,
    ),
)
PRIVACY = Layout(
    "table2",
    "Table 2: privacy",
    (
        _paper("DCR"),
        Column("DCR", "published", ("dcr_published",), "dcr_published_holdout"),
        Column("DCR", "corrected", ("dcr_mean",), "dcr_holdout_mean"),
        _paper("NRS"),
        Column("NRS", "published", ("nrs_published",), "nrs_published_holdout", is_compared=False),
        Column("NRS", "corrected", ("nrs",), "nrs_holdout", is_compared=False),
        _paper("DLT"),
        Column("DLT", "published", ("dlt_published_train_test",), 0.0, "train - test", is_compared=False),
        Column("DLT", "published", ("dlt_published_real_synthetic",), 0.0, "real - synthetic", is_compared=False),
        Column("DLT", "corrected", ("dlt",), 0.0),
    ),
    (
        "DCR is the mean distance to the nearest train row, NRS the share of rows that are new. Both are best near the "
        "real hold-out's own: a table that is farther off than real rows has left their distribution. NRS is 1 nearly "
        "everywhere, and none is marked. The two forms of DCR weigh categories differently. DLT says how much likelier "
        "the generator finds train than other rows: best at 0, negative where train leaks. Its corrected form is in bits "
        "a cell, against the hold-out. Which two perplexities the paper subtracts is not stated, so both readings stand "
        "here; they depend on the tokenizer, so that two models' do not compare and none is marked.",
        *NOTES,
    ),
)
LAYOUTS = (UTILITY, PRIVACY)
