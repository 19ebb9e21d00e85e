"""Write the base model's card from its training.json and results/base: `python scripts/make_base_card.py`."""

import argparse
import json
import sys
from pathlib import Path

from harmonic.lm.base import FOLDER
from harmonic.lm.load import BASE
from harmonic.report.card import model_card

EVALUATIONS = Path("results/base")


def main() -> int:
    """Write README.md beside the weights; exit status 1 where there is nothing to write it from."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    weights = BASE.digest_inputs()["model.safetensors"]
    found = [json.loads(file.read_text()) for file in sorted(EVALUATIONS.glob("*.json"))]
    evaluations = [one for one in found if one["digests"]["model.safetensors"] == weights]
    if not evaluations:
        print(f"{EVALUATIONS} has no evaluation of these weights: run scripts/evaluate_base.py.", file=sys.stderr)
        return 1
    card = FOLDER / "README.md"
    size_mb = sum(file.stat().st_size for file in FOLDER.iterdir() if file != card) / 1e6
    training = json.loads((FOLDER / "training.json").read_text())
    card.write_text(model_card(training, evaluations, size_mb))
    print(card.relative_to(Path.cwd()) if card.is_relative_to(Path.cwd()) else card)
    return 0


if __name__ == "__main__":
    sys.exit(main())
