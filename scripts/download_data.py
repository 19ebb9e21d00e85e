"""Downloads the paper's data sets: `python scripts/download_data.py adult german`; all of them if none is named."""

import argparse
import sys

from harmonic.datasets import Folder, configured, known_names, read_csv
from harmonic.datasets.download import PARTS, rows_digest
from harmonic.errors import BadInput


def main(arguments: list[str] | None = None) -> int:
    """Puts each data set into its folder and prints the digests; 1 if one could not be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help="of a data set with a folder, e.g. adult")
    parser.add_argument("--data-dir", help="default: $HARMONIC_DATA_DIR, else data")
    options = parser.parse_args(arguments)
    failed = False
    # One that cannot be had (buddy has no public download) does not keep the others from coming.
    for name in options.names or [name for name in known_names() if isinstance(configured(name), Folder)]:
        try:
            dataset = configured(name, options.data_dir)
            if not isinstance(dataset, Folder):
                raise BadInput(f"{name} must be a data set with a folder, but comes inside a dependency: just use it.")
            folder = dataset.ensure()
            print(folder)
            for part in PARTS:
                rows = read_csv(folder / f"{part}.csv")
                print(f"  {part}.csv  {len(rows)} rows  {rows_digest(rows)}")
        except BadInput as error:
            print(error, file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
