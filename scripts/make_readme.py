"""Put the table of results into README.md, from the records: `python scripts/make_readme.py [results/runs] [README.md]`."""

import argparse
import sys
from pathlib import Path

from harmonic.errors import BadInput
from harmonic.record import found, read
from harmonic.report.overview import with_overview


def main() -> int:
    """Write it between its marks; one line and exit status 1 where there are no records or no marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("results/runs"), help="folder of records")
    parser.add_argument("page", nargs="?", type=Path, default=Path("README.md"), help="page to write into")
    arguments = parser.parse_args()
    try:
        records = [read(path) for path in found(arguments.runs)]
        page = with_overview(arguments.page.read_text(encoding="utf-8"), records)
    except (BadInput, OSError, UnicodeDecodeError) as error:
        print(f"make_readme.py: {error}", file=sys.stderr)
        return 1
    arguments.page.write_text(page, encoding="utf-8", newline="\n")
    print(arguments.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
