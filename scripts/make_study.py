"""Regenerate results/tables/study.md from the study's records: `python scripts/make_study.py [records] [tables]`."""

import argparse
import sys
from pathlib import Path

from harmonic.record import read_all
from harmonic.report.study import DEFAULT, differences, levels
from harmonic.report.tables import to_markdown

INTRODUCTION = f"""# The study's variants

On folds of each data set's train and val rows; its test rows are left alone. What the variants are: docs/study.md.
The upper table of a data set has means ± standard deviations over folds, the lower one what a variant has more than
`{DEFAULT}` on the same folds, with a 95 % interval over folds.
"""


def main() -> int:
    """Write the tables; exit status 1 where there are no records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", type=Path, default=Path("results/study"), help="folder of records")
    parser.add_argument("out", nargs="?", type=Path, default=Path("results/tables"), help="folder to write to")
    arguments = parser.parse_args()
    records = read_all(arguments.study)
    if not records:
        print(f"{arguments.study} must hold record.json files, but holds none: see docs/study.md.", file=sys.stderr)
        return 1
    apart = differences(records)
    parts = [INTRODUCTION]
    for dataset, table in levels(records).items():
        parts += [f"## {dataset}\n", to_markdown(table), ""]
        if dataset in apart:
            parts += [to_markdown(apart[dataset]), ""]
    text = "\n".join(parts)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "study.md").write_text(text, encoding="utf-8", newline="\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
