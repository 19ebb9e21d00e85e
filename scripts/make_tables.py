"""Regenerate results/tables from the records: `python scripts/make_tables.py [results/runs] [results/tables]`."""

import argparse
import sys
from pathlib import Path

from harmonic.errors import check_name
from harmonic.record import read_all
from harmonic.report.tables import pages, tables


def main() -> int:
    """Write a Markdown and a CSV table per data set; exit status 1 where there are no records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("results/runs"), help="folder of records")
    parser.add_argument("out", nargs="?", type=Path, default=Path("results/tables"), help="folder to write to")
    arguments = parser.parse_args()
    records = read_all(arguments.runs)
    if not records:
        print(f"{arguments.runs} must hold record.json files, but holds none: run `python run.py` first.", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    for dataset, table in tables(records).items():
        check_name("a record's data set", dataset)
        (arguments.out / f"{dataset}.md").write_text(f"# {dataset}\n\n{pages(table, '## ')}\n")
        table.to_csv(arguments.out / f"{dataset}.csv", index=False)
        print(f"\n{dataset}\n\n{pages(table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
