"""Regenerate results/tables from the records: `python scripts/make_tables.py [results/runs] [results/tables]`."""

import argparse
import sys
from pathlib import Path

from harmonic.errors import check_name
from harmonic.record import read_all
from harmonic.report.comparison import compare
from harmonic.report.layouts import LAYOUTS
from harmonic.report.renderings import latex, long, markdown
from harmonic.report.tables import pages, tables


def main() -> int:
    """Write a table per data set, and the paper's two tables; exit status 1 where there are no records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("results/runs"), help="folder of records")
    parser.add_argument("out", nargs="?", type=Path, default=Path("results/tables"), help="folder to write to")
    arguments = parser.parse_args()
    records = read_all(arguments.runs)
    if not records:
        print(f"{arguments.runs} must hold record.json files, but holds none: run `python run.py` first.", file=sys.stderr)
        return 1
    files = {}
    for dataset, table in tables(records).items():
        check_name("a record's data set", dataset)
        files[f"{dataset}.md"] = f"# {dataset}\n\n{pages(table, '## ')}\n"
        files[f"{dataset}.csv"] = table.to_csv(index=False)
        print(f"\n{dataset}\n\n{pages(table)}")
    for layout in LAYOUTS:
        if f"{layout.name}.md" in files:
            print(f"A data set must not be named {layout.name}, as one of the tables of all: rename it.", file=sys.stderr)
            return 1
        blocks = compare(records, layout)
        files[f"{layout.name}.md"] = markdown(blocks, layout)
        files[f"{layout.name}.csv"] = long(blocks, layout).to_csv(index=False)
        files[f"{layout.name}.tex"] = latex(blocks, layout)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (arguments.out / name).write_text(text, encoding="utf-8", newline="\n")
    print(f"\n{len(files)} files in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
