"""Digests of the authors' instructions: `python make_published_instructions.py <checkout of The-FinAI/HARMONIC>`.

Writes published_instructions.json beside this file: per data set the SHA-256 of Data/<name>/generator/knn_train.json
(training) and knn_syn.json (sampling), byte for byte as they stand in the authors' repository.
"""

import hashlib
import json
import sys
from pathlib import Path

NAMES = ("german", "diabetes")
FILES = {"training": "knn_train.json", "sampling": "knn_syn.json"}


def digests(checkout: Path) -> dict[str, dict[str, str | int]]:
    """Per data set and kind of instruction: number of lines and SHA-256."""
    found: dict[str, dict[str, str | int]] = {}
    for name in NAMES:
        for what, file in FILES.items():
            content = (checkout / "Data" / name / "generator" / file).read_bytes()
            lines, sha256 = content.count(b"\n"), hashlib.sha256(content).hexdigest()
            found[f"{name}/{what}"] = {"lines": lines, "sha256": sha256}
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = Path(__file__).with_name("published_instructions.json")
    target.write_text(json.dumps(digests(Path(sys.argv[1])), indent=1) + "\n")
