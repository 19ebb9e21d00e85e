"""What a table teaches of its target, column by column: log loss on test rows, which tells tables apart where F1 does not.

    python scripts/loss_by_column.py runs=… [dataset=…] [method=…] [model=…] [seed=…] [rows=0] [data_dir=…] [threads=1]

For each record under `runs` beside which its synthetic.csv was kept, XGBoost learns the class from those rows and gives
probabilities for the real test rows; the same for train. Printed is its log loss, in nats: of all columns together, of what
each column teaches alone, and of all the others without it. Several names are separated by commas; rows= takes so many of
each table, drawn with seed 0, since more rows teach more; 0 for all. For a choice between methods the records are of
dataset.fold=… (docs/study.md), whose test rows are train's and val's.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss
from xgboost import XGBClassifier

from harmonic import env
from harmonic.arguments import interruptible, read_arguments
from harmonic.errors import BadInput
from harmonic.metrics.rows import check_rows, draw_rows
from harmonic.metrics.utility import fit_classifier, usable_rows
from harmonic.table import Split
from harmonic.verify import choose, stored_rows

DEFAULTS = {
    "runs": "",
    **dict.fromkeys(("dataset", "method", "model", "seed"), ""),
    "rows": 0,
    "data_dir": env.data_dir(),
    "threads": 1,
}
FLOOR = 1e-3
"""Probability of each class at least: a class that a table lacks is not infinitely wrong."""


def main(arguments: list[str]) -> int:
    """Print a table for each set of test rows; a wrong argument or record is one line and exit status 2."""
    try:
        options = read_arguments(arguments, DEFAULTS, ["runs"])
        env.set_threads(options["threads"])
        splits: dict[str, Split] = {}
        losses: dict[str, dict[str, pd.Series]] = {}
        chosen = choose(Path(options["runs"]), options)
        kept = [(path, record) for path, record in chosen if (path.parent / "synthetic.csv").exists()]
        if not kept:
            raise BadInput(
                f"rows must lie beside a record, but do beside none of {len(chosen)}: run `python run.py` for some."
            )
        for path, record in kept:
            split, rows = stored_rows(record, path.parent, options["data_dir"])
            if split.schema.task == "regression":
                raise BadInput(
                    f"the target must have classes, but {record.cell.dataset}'s is a number: name another dataset=."
                )
            split = splits.setdefault(split.digest, split)
            found = losses.setdefault(split.digest, {})
            if not found:
                found["train"] = losses_by_column(split, split.train, options["rows"])
            found[f"{record.cell.method}, {path.parent.name}"] = losses_by_column(split, rows, options["rows"])
    except BadInput as error:
        print(f"loss_by_column.py: {error}", file=sys.stderr)
        return 2
    if len(kept) < len(chosen):
        print(f"left out: {len(chosen) - len(kept)} of {len(chosen)} records, whose rows were not kept", file=sys.stderr)
    for key, found in losses.items():
        print(f"{splits[key].name}: log loss on {len(splits[key].test)} test rows")
        print(pd.DataFrame(found).to_string(float_format="{:.4f}".format))
    return 0


def losses_by_column(split: Split, table: pd.DataFrame, rows: int = 0) -> pd.Series:
    """The log loss on test rows of what `table` teaches, in nats.

    Args:
        split: the data set, whose target has classes.
        table: rows to learn from.
        rows: at most so many of them, drawn; 0 for all.

    Returns:
        By "all", "<column>" (alone) and "without <column>".
    """
    table = check_rows(split, table, "the table")
    sides = [draw_rows(table, rows or len(table), seed=0), split.test]
    (names, learnt), (_, judged) = (_features(split, side) for side in sides)
    features, labels = usable_rows(split, sides[0], learnt, "the table")
    test_features, test_labels = usable_rows(split, sides[1], judged, "test")
    everything = np.ones(len(names), dtype=bool)
    single = {name: np.asarray(names) == name for name in names}
    others = {f"without {name}": ~alone for name, alone in single.items() if not alone.all()}
    chosen = {"all": everything} | single | others
    classes = range(len(split.schema[split.schema.target].categories))

    def loss(columns: np.ndarray) -> float:
        model = XGBClassifier(n_estimators=100, max_depth=5, learning_rate=0.1, tree_method="hist", random_state=0)
        fitted = fit_classifier(model, features[:, columns], labels)
        chances = np.maximum(fitted.scores(test_features[:, columns], len(classes)), FLOOR)
        return float(log_loss(test_labels, chances / chances.sum(axis=1, keepdims=True), labels=classes))

    return pd.Series({name: loss(columns) for name, columns in chosen.items()})


def _features(split: Split, table: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Feature columns by name, a number each, float64, shape (n, f): trees need no indicators."""
    encoded = split.encoder.encode(table)
    numeric = split.encoder.numeric
    names = [*numeric, *(name for name in split.schema.names if name not in numeric)]
    kept = [place for place, name in enumerate(names) if name != split.schema.target]
    return [names[place] for place in kept], np.hstack([encoded.numbers, encoded.codes])[:, kept]


if __name__ == "__main__":
    sys.exit(interruptible(main))
