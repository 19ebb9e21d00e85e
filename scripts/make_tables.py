"""Regenerate results/tables from the records.

    python scripts/make_tables.py [results/runs] [results/tables] [results/study]

A Markdown and a CSV table per data set, the paper's two tables, how far the goals are reached, and the tables of the study,
where there is one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harmonic.errors import BadInput, check_name
from harmonic.record import Record, found, read
from harmonic.report.comparison import compare
from harmonic.report.goals import goals_page
from harmonic.report.layouts import LAYOUTS
from harmonic.report.renderings import latex, long, markdown
from harmonic.report.study import study_of, study_page
from harmonic.report.tables import pages, plain, tables

GOALS, STUDY = "goals", "study"
"""Their files' names."""


def main() -> int:
    """Write the tables; one line and exit status 1 for records that are not there or cannot be told apart, or a folder
    that cannot be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("results/runs"), help="folder of records")
    parser.add_argument("out", nargs="?", type=Path, default=Path("results/tables"), help="folder to write to")
    parser.add_argument("study", nargs="?", type=Path, help="folder of a study's records (results/study)")
    arguments = parser.parse_args()
    try:
        records = [read(path) for path in found(arguments.runs)]
        files = contents(records, study_of(arguments.study))
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (arguments.out / name).write_text(text, encoding="utf-8", newline="\n")
    except (BadInput, OSError) as error:
        print(f"make_tables.py: {error}", file=sys.stderr)
        return 1
    for dataset, table in tables(records).items():
        print(f"\n{dataset}\n\n{pages(table)}")
    print(f"\n{len(files)} files in {arguments.out}")
    return 0


def contents(records: Sequence[Record], study: Sequence[Record]) -> dict[str, str]:
    """File names to texts; raises BadInput where a data set has a name that is no file's, or that of a table of all."""
    files = {}
    for layout in LAYOUTS:
        blocks = compare(records, layout)
        files[f"{layout.name}.md"] = markdown(blocks, layout)
        files[f"{layout.name}.csv"] = long(blocks, layout).to_csv(index=False)
        files[f"{layout.name}.tex"] = latex(blocks, layout)
    files[f"{GOALS}.md"] = goals_page(records, study)
    if study:
        files[f"{STUDY}.md"] = study_page(study)
    for dataset, table in tables(records).items():
        check_name("a record's data set", dataset)
        if dataset in (GOALS, STUDY, *(layout.name for layout in LAYOUTS)):
            raise BadInput(f"A data set must not be named {dataset}, as one of the tables of all: rename it.")
        files[f"{dataset}.md"] = f"# {plain(dataset)}\n\n{pages(table, '## ')}\n"
        files[f"{dataset}.csv"] = table.to_csv(index=False)
    return files


if __name__ == "__main__":
    sys.exit(main())
