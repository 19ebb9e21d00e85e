"""Compute the scores of records once more and say what differs.

    python scripts/verify.py [runs=results/runs] [dataset=…] [method=…] [model=…] [seed=…] [metrics=…] [from=seeds]
                             [cache_dir=…] [data_dir=…] [threads=1]

Several names are separated by commas; without a name, all. from=rows scores the synthetic.csv beside each record, where it
was kept, on so many threads, and leaves out what asks the fitted generator; from=seeds fits and samples anew, on as many as
the record says. Finished stages are kept in cache_dir, a new folder that goes at the end unless one is named. Exit status 1
where anything differs or a record could not be checked.
"""

import sys
import tempfile
from pathlib import Path

from harmonic import env
from harmonic.arguments import read_arguments
from harmonic.errors import BadInput, check_choice
from harmonic.verify import Finding, Origin, choose, verify

DEFAULTS = {
    "runs": "results/runs",
    **dict.fromkeys(("dataset", "method", "model", "seed", "metrics"), ""),
    "from": "seeds",
    "cache_dir": "",
    "data_dir": env.data_dir(),
    "threads": 1,
}


def main(arguments: list[str]) -> int:
    """Check the records; a wrong argument is one line and exit status 2."""
    try:
        options = read_arguments(arguments, DEFAULTS)
        check_choice("from", options["from"], Origin)
        env.set_threads(options["threads"])
        chosen = choose(Path(options["runs"]), options)
        with tempfile.TemporaryDirectory() as new:
            findings = []
            for path, record in chosen:
                finding = verify(
                    record,
                    path.parent,
                    origin=options["from"],
                    data_dir=options["data_dir"],
                    cache_dir=Path(options["cache_dir"] or new),
                    metrics=[name for name in options["metrics"].split(",") if name],
                )
                print(_line(finding), flush=True)
                findings.append(finding)
    except BadInput as error:
        print(f"verify.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; with cache_dir=… the same command goes on from what is there", file=sys.stderr)
        return 130
    wrong = sum(not finding.holds for finding in findings)
    partly = sum(bool(finding.unchecked) for finding in findings)
    told = f"; of {partly} not everything was checked" if partly else ""
    print(f"{len(findings)} records, {len(findings) - wrong} hold, {wrong} do not{told}")
    return int(wrong > 0)


def _line(finding: Finding) -> str:
    counts = [f"{finding.same} scores same"]
    counts += [f"{finding.rounded} but for rounding"] if finding.rounded else []
    counts += [f"{len(finding.differ)} differ"] if finding.differ else []
    lines = [f"{finding.name}: rows {finding.rows or 'not there'}, {', '.join(counts)}"]
    lines += [f"  {text}" for text in finding.differ]
    lines += [f"  not checked: {text}" for text in finding.unchecked]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
