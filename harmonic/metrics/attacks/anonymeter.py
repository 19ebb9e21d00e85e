"""Anonymeter's attacks: singling out, linking and inferring, on rows of train beside rows the generator never saw."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harmonic.errors import BadInput, check_count
from harmonic.metrics.attacks.cells import cell_codes
from harmonic.metrics.rows import check_rows
from harmonic.seed import derive_seed, global_seed
from harmonic.table import Split
from harmonic.table.encoding import EMPTY
from harmonic.table.schema import Schema

log = logging.getLogger(__name__)

INSTALL = "pip install -r requirements-anonymeter.txt --no-deps"
TRIES = 100
"""Predicates over several columns that are tried for each one wanted."""
CONFIDENCE = 0.95
HOLES = "?"
"""Ends the name of a column that says where another is empty."""
FAR = 20.0
"""Ranges of train beyond which a number counts as one at that distance."""


@dataclass(frozen=True)
class Anonymeter:
    """Anonymeter: what an attacker who holds the synthetic table does better on train than on people who were not in it.

    Definition. Three attacks, on the risks that the EU's Article 29 Working Party names, each made on rows of train and on
    rows of the hold-out (`split.test`), which the generator never saw.

    * `anonymeter_singling_out`: predicates over `n_columns` columns that hold for exactly one synthetic row; one succeeds if
      it holds for exactly one row of train. `anonymeter_singling_out_univariate`: predicates over one column, its ends and
      the values that occur once. Rows that are equal are one, and train and hold-out are cut to one size at random, since
      how often a predicate singles out depends on it: a full copy scores well below 1 (.18 on diabetes, .56 on Adult).
    * `anonymeter_linkability`: a row is cut in two, its columns in turn; it is linked if both parts have the same nearest
      synthetic row.
    * `anonymeter_inference`: a cell is guessed to be that of the synthetic row nearest in all other columns; right if equal,
      or, for numbers, within about 5 % of train's range. The mean over the target and the first other columns,
      `max_secrets` in all.

    Each is a risk, (attack - control) / (1 - control): of what fails on the hold-out, the share that succeeds on train. 0 to
    1, lower is better, ideal 0, at which it is cut; NaN where no predicate was found. `…_low`, `…_high`: its 95 % interval;
    there is a risk where `…_low` is above 0. `…_attack`, `…_control`: the two success rates, as the centres of Wilson's
    intervals, which lie nearer to .5 than the shares where attacks are few.

    What it cannot see: attackers who know more than the table (the generator, its prompts), or who choose the rows that are
    most at risk: hundreds of attacks leave a leak of one row in a hundred within the interval. Of equally near synthetic
    rows one is taken at random, which hides links where few columns tell rows apart: of a full copy of Adult it links
    .15. What succeeds on the hold-out as well is no leak of train's rows, though it may harm people all the same. Singling
    out by one column sees that rare values are handed on, which independent columns do too (.22 to .44 on diabetes, german
    and adult), and not whether rows are.

    Cost: seconds on small tables, a minute on Adult. Needs the package anonymeter, an extra.

    Source: Giomi et al. 2023, *A Unified Framework for Quantifying Privacy Risk in Synthetic Data*, PoPETs 2023; the package
    anonymeter 1.1. Not taken from it: its correction for a hold-out smaller than train, an extrapolation under which real
    rows that the generator never saw score .10 to .16 on diabetes, interval above 0; and its 5 % of the guess for numbers,
    under which every negative guess is right.
    """

    n_attacks: int = 500
    """Attacks of each kind, on train and on the hold-out, at most as many as there are rows."""
    n_columns: int = 3
    """Columns of a multivariate predicate."""
    max_secrets: int = 5
    """Columns that are inferred."""

    def __post_init__(self) -> None:
        for option in ("n_attacks", "n_columns", "max_secrets"):
            check_count(f"anonymeter.{option}", getattr(self, option), 1)

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """Risks, their intervals and rates by key; see the class."""
        rows = check_rows(split, synthetic, "anonymeter")
        _check_installed()
        rng = np.random.default_rng(derive_seed(seed, "anonymeter"))
        rows = rows.iloc[rng.permutation(len(rows))].reset_index(drop=True)  # among equally near rows the first is taken
        tables = (split.train, split.test, rows)
        cells = [_cells(split, table) for table in tables]
        with global_seed(derive_seed(seed, "anonymeter", "package")), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of guesses at random that are as good, which we do not report
            rates = {
                **self._singling_out(cell_codes(tables, split.schema), split.schema, rng),
                "linkability": self._linkability(cells),
                "inference": self._inference(cells, str(split.schema.names.index(split.schema.target))),
            }
        return {key: value for name, pair in rates.items() for key, value in _risk(f"anonymeter_{name}", pair).items()}

    def _singling_out(self, codes: Sequence[np.ndarray], schema: Schema, rng: np.random.Generator) -> dict[str, Any]:
        from anonymeter.evaluators import singling_out_evaluator as package

        distinct = [np.unique(table, axis=0) for table in codes]
        size = min(len(table) for table in distinct[:2])
        drawn = [table[np.sort(rng.permutation(len(table))[:size])] for table in distinct[:2]]
        train, control, synthetic = (_for_predicates(table, schema) for table in (*drawn, distinct[2]))
        every = synthetic.width * (len(synthetic) + 3)
        # Polars groups in an order of its own each time: all predicates are taken, put in order, and drawn from.
        single = sorted(package.univariate_singling_out_queries(synthetic, every, rng), key=str)
        several = package.multivariate_singling_out_queries(
            synthetic, self.n_attacks, min(self.n_columns, synthetic.width), TRIES * self.n_attacks, rng
        )
        chosen = {
            "singling_out_univariate": [single[place] for place in rng.permutation(len(single))[: self.n_attacks]],
            "singling_out": several,
        }
        rates = {}
        for name, predicates in chosen.items():
            if len(predicates) < self.n_attacks:
                log.info("anonymeter: %s found %d predicates of %d.", name, len(predicates), self.n_attacks)
            successes = []
            for table in (train, control):
                found = package.UniqueSinglingOutQueries()
                found.check_and_extend(predicates, table)
                successes.append(len(found))
            rates[name] = _rates(successes, [len(predicates)] * 2)
        return rates

    def _linkability(self, cells: Sequence[dict[str, np.ndarray]]) -> Any:
        from anonymeter.evaluators import LinkabilityEvaluator

        train, control, synthetic = (_for_distances(table) for table in cells)
        halves = tuple([name for name in train if int(name.rstrip(HOLES)) % 2 == half] for half in (0, 1))
        n = min(self.n_attacks, len(train), len(control))
        results = LinkabilityEvaluator(train, synthetic, halves, n, control=control).evaluate(n_jobs=1).results()
        return results.attack_rate, results.control_rate

    def _inference(self, cells: Sequence[dict[str, np.ndarray]], target: str) -> Any:
        from anonymeter.evaluators import InferenceEvaluator

        shares = []
        for secret in [target, *(name for name in cells[0] if name != target)][: self.max_secrets]:
            train, control, synthetic = (_for_distances(table, secret) for table in cells)
            known = [name for name in train if name != secret]
            is_number = cells[0][secret].dtype == np.float64
            attack = InferenceEvaluator(train, synthetic, known, secret, is_number, self.n_attacks, control=control)
            results = attack.evaluate(n_jobs=1).results()
            n = np.array([results.n_attacks_ori, results.n_attacks_control])
            shares.append(np.array([results.n_success, results.n_control]) / n)
        return _rates(np.mean(shares, axis=0) * n, n)


def _check_installed() -> None:
    try:
        import anonymeter.evaluators  # noqa: F401
    except ImportError as error:
        raise BadInput(f"metrics=anonymeter needs anonymeter, but it cannot be loaded ({error}): {INSTALL}.") from None


def _rates(successes: Sequence[float] | np.ndarray, attacks: Sequence[int] | np.ndarray) -> Any:
    """The package's success rates on train and on the hold-out; None where nothing was attacked."""
    from anonymeter.stats.confidence import success_rate

    if not all(attacks):
        return None
    return tuple(success_rate(n, k, CONFIDENCE) for k, n in zip(successes, attacks, strict=True))


def _risk(key: str, rates: Any) -> dict[str, float]:
    from anonymeter.stats.confidence import residual_success

    names = [key, *(f"{key}_{end}" for end in ("low", "high", "attack", "control"))]
    if rates is None:
        return dict.fromkeys(names, np.nan)
    value, (low, high) = residual_success(*rates).to_risk()
    found = (value, low, high, rates[0].value, rates[1].value)
    return {name: float(number) for name, number in zip(names, found, strict=True)}


def _for_predicates(codes: np.ndarray, schema: Schema) -> Any:
    """A table of ranks and codes: predicates know order and equality alone, and no text that would have to be escaped."""
    import polars

    columns = []
    for place, column in enumerate(schema.columns):
        known = [None if code == EMPTY else code for code in codes[:, place].tolist()]
        values = known if column.is_numeric else [None if code is None else str(code) for code in known]
        columns.append(polars.Series(f"c{place}", values, polars.Int64 if column.is_numeric else polars.String))
    return polars.DataFrame(columns)


def _cells(split: Split, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Columns by their number: numbers in units of train's range, float64, shape (n,); codes of the others as int64."""
    encoder, encoded = split.encoder, split.encoder.encode(table)
    others = [name for name in split.schema.names if name not in encoder.numeric]
    return {
        str(place): encoded.numbers[:, encoder.numeric.index(name)]
        if name in encoder.numeric
        else encoded.codes[:, others.index(name)]
        for place, name in enumerate(split.schema.names)
    }


def _for_distances(cells: dict[str, np.ndarray], secret: str | None = None) -> pd.DataFrame:
    """A table for the package's distance, in which an empty number would be infinitely far from all others.

    It stands at the middle of train's range instead, and in a column of its own that tells it from a filled one. A number
    that is the secret stands as e to its power, so that the package's 5 % of the guess are 5 % of train's range.
    """
    columns = {}
    for name, values in cells.items():
        if values.dtype != np.float64:
            columns[name] = values.astype(str).astype(object)
        elif name == secret:
            columns[name] = np.exp(np.clip(values, -FAR, FAR))
        else:
            columns[name] = np.where(np.isnan(values), 0.5, values)
            columns[name + HOLES] = np.where(np.isnan(values), "empty", "filled").astype(object)
    return pd.DataFrame(columns)
