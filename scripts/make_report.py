"""Write the report, one HTML file, from records.

    python scripts/make_report.py [results/runs] [results/report.html] [results/study]

Of the study, the page shows how far the goals are reached on five folds.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from harmonic.errors import BadInput, check_name
from harmonic.record import found, read
from harmonic.report.groups import by_dataset
from harmonic.report.page import Report, Source
from harmonic.report.pictures import of_all, of_dataset
from harmonic.report.plots import save_png
from harmonic.report.study import study_of


def main() -> int:
    """Write the report and, if asked for, its plots as files; 1 where there are no records, or a file cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("results/runs"), help="folder of records")
    parser.add_argument("out", nargs="?", type=Path, default=Path("results/report.html"), help="file to write")
    parser.add_argument("study", nargs="?", type=Path, help="folder of a study's records (results/study)")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write the plots there too, as PNG")
    arguments = parser.parse_args()
    try:
        for path in _write(arguments):
            print(path)
    except (BadInput, OSError) as error:
        print(f"make_report.py: {error}", file=sys.stderr)
        return 1
    return 0


def _write(arguments: argparse.Namespace) -> Iterator[Path]:
    """Each file, as it is written."""
    paths, study = found(arguments.runs), study_of(arguments.study)
    here = arguments.out.parent
    sources = [Source(read(path), Path(os.path.relpath(path, here)).as_posix()) for path in paths]
    records = [source.record for source in sources]
    pictures = {"": of_all(records), **{name: of_dataset(some) for name, some in by_dataset(records).items()}}
    here.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(Report(sources, pictures, study).html(), encoding="utf-8", newline="\n")
    yield arguments.out
    if arguments.plots:
        arguments.plots.mkdir(parents=True, exist_ok=True)
        for dataset, some in pictures.items():
            check_name("a record's data set", dataset or "all")
            for picture in some:
                path = arguments.plots / f"{dataset or 'all'}_{picture.name}.png"
                save_png(picture.figure, path)
                yield path


if __name__ == "__main__":
    sys.exit(main())
