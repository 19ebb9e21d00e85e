"""Membership inference. Oracles: hand computation, libraries that do the same in the small, and repetition."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde

from harmonic.errors import BadInput
from harmonic.metrics.attacks import density
from harmonic.metrics.attacks.audit import Audit
from harmonic.metrics.attacks.density import Space, domias, gen_lra, log_density
from harmonic.metrics.attacks.digits import digits, levatt
from harmonic.metrics.attacks.distance import distance, distance_difference
from harmonic.metrics.attacks.likelihood import loss, min_k, reference_loss
from harmonic.metrics.attacks.membership import MembershipInference, by_chance, judge, threshold
from harmonic.metrics.intervals import auc, hit_rate_interval
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema


def line(train: list[int], val: list[int], test: list[int]) -> Split:
    """Numbers on a line; the target is one class but for a far row of train, so that it counts for nothing."""
    frames = [pd.DataFrame({"x": part, "y": "a"}) for part in ([*train, 999], val, test)]
    frames[0].loc[len(train), "y"] = "b"
    schema = infer_schema(frames[0], columns={"x": "integer"})
    return Split("line", schema, *(coerce(frame, schema, "line") for frame in frames))


def audit(split: Split, synthetic: list[int], own: list[int], others: list[int], synthesizer: object = None) -> Audit:
    rows = coerce(pd.DataFrame({"x": synthetic, "y": "a"}), split.schema, "synthetic")
    return Audit(split, rows, synthesizer, np.array(own), np.array(others), 0)


def test_distances_by_hand():
    """On a line, in units of 999: members at 0 and 10, others at 5 and 40; synthetic 0 and 12, reference 20."""
    given = audit(line([0, 10], [20, 20], [5, 40]), [0, 12], [0, 1], [0, 1])
    assert -distance(given) * 999 == pytest.approx([0, 2, 5, 28], abs=1e-5)
    expected = [1, (10 - 2) / 12, (15 - 5) / 20, (20 - 28) / 48]
    assert distance_difference(given) == pytest.approx(expected, abs=1e-6)


def test_a_row_that_is_everywhere_says_nothing():
    """By hand: where reference and synthetic rows are the candidate itself, the difference is 0, not 0 over 0."""
    given = audit(line([0, 10], [0, 0], [0, 40]), [0], [0], [0])
    assert distance_difference(given).tolist() == [0.0, 0.0]


def test_edits_of_digits_by_hand():
    """Levenshtein: 123 is one edit from 124, two from 14; numbers alone count, with a separator between."""
    given = audit(line([123, 7], [1, 2], [14, 7]), [124, 555], [0], [0])
    assert levatt(given).tolist() == [-1.0, -1.0]
    schema = infer_schema(pd.DataFrame({"a": [1.5, 2.25], "b": ["u", "v"], "c": [10, 20], "y": ["n", "m"]}))
    assert digits(pd.DataFrame({"a": [1.5], "b": ["u"], "c": [10], "y": ["n"]}), schema) == ["1.50,10"]


def test_a_table_without_numbers_has_no_digits():
    """The contract: None, and the metric goes on without the attack."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"u": rng.choice(list("abcd"), 90), "v": rng.choice(list("efgh"), 90), "y": ["n", "m", "m"] * 30})
    schema = infer_schema(frame)
    split = Split("letters", schema, *(coerce(frame[k::3], schema, "letters") for k in range(3)))
    scores = MembershipInference()(split, split.val, seed=0)
    assert scores["mia_attacks"] == 5
    assert "mia_levatt_auc" not in scores


def test_densities_are_scipys_but_for_the_kernel(monkeypatch):
    """Reference: scipy's gaussian_kde, in the principal components of the rows themselves, with Scott's bandwidth."""
    monkeypatch.setattr(density, "WIDTH", 1.0)

    def gaussian(squares: np.ndarray, width: float, dimension: int) -> np.ndarray:
        return -squares / (2 * width**2) - dimension * np.log(np.sqrt(2 * np.pi) * width)

    monkeypatch.setattr(density, "_log_kernel", gaussian)
    monkeypatch.setattr(density, "CHUNK_CELLS", 500)
    rng = np.random.default_rng(0)
    rows, points = rng.normal(size=(80, 3)) * [1, 5, 0.1], rng.normal(size=(30, 3)) * [1, 5, 0.1]
    space = Space.of(rows)
    found = log_density(space.place(points), space.place(rows))
    known = gaussian_kde(rows.T).logpdf(points.T)
    assert found - found[0] == pytest.approx(known - known[0], abs=0.06)  # scipy divides the covariance by n - 1


def test_the_ratio_of_gen_lra_by_hand():
    """One column: the nearest synthetic row's likelihood with the candidate in the reference, over that without."""
    given = audit(line([3, 50], [20, 40, 60, 90], [8, 44]), [4, 70], [0, 1], [0, 1])
    space = Space.of(given.reference_points)
    x, s, r = (space.place(points) for points in (given.candidate_points, given.synthetic_points, given.reference_points))
    width, dimension = density.bandwidth(len(r), r.shape[1]), r.shape[1]
    assert dimension == 1

    def kernel(a: float, b: float) -> float:
        return (1 + ((a - b) / width) ** 2) ** (-(dimension + 1) / 2) / width**dimension

    for place, score in enumerate(gen_lra(given)):
        near = s[np.abs(s[:, 0] - x[place, 0]).argmin(), 0]
        without = sum(kernel(near, one) for one in r[:, 0])
        ratio = ((without + kernel(near, x[place, 0])) / (len(r) + 1)) / (without / len(r))
        assert score == pytest.approx(np.log(ratio), abs=1e-9)


def test_a_reference_that_is_the_table_says_nothing():
    """By hand: a ratio of equal densities is 1, its logarithm 0."""
    given = audit(line([3, 50], [20, 40, 60, 90], [8, 44]), [20, 40, 60, 90], [0, 1], [0, 1])
    assert domias(given) == pytest.approx(np.zeros(4), abs=1e-12)


class Knows:
    """A generator with the likelihoods it is given, and others before it learnt."""

    def __init__(self, cells: list[list[float]], before: list[list[float]] | None = None) -> None:
        self.cells, self.asked = cells, []
        if before is not None:
            self.start = lambda train, seed: Knows(before)

    def log_likelihood(self, rows: pd.DataFrame, *, seed: int, own: np.ndarray | None = None) -> np.ndarray:
        self.asked.append(own)
        half = len(self.cells) // 2
        return np.array(self.cells[:half] if own is not None else self.cells[half:])


def test_likelihoods_by_hand():
    """Means of the cells, of the least likely one of two, and less what the model knew before."""
    generator = Knows([[-1, -3], [-2, -2]], [[-1, -1], [-5, -5]])
    given = audit(line([3, 50], [20, 40], [8, 44]), [4, 70], [1], [0], generator)
    assert loss(given).tolist() == [-2, -2]
    assert min_k(given).tolist() == [-3, -2]
    assert reference_loss(given).tolist() == [-1, 3]
    assert [None if own is None else own.tolist() for own in generator.asked] == [[1], None]  # once, and never with itself
    without = audit(given.split, [4], [1], [0], Knows([[-1, -3], [-2, -2]]))
    assert reference_loss(without) is None
    assert loss(audit(given.split, [4], [1], [0], object())) is None


def test_a_threshold_lets_so_many_pass_at_most():
    """By hand: of 1 to 100, ten exceed 90 and none 100; of a hundred equal scores, none exceeds them."""
    assert threshold(np.arange(1, 101), 0.1) == 90
    assert threshold(np.arange(1, 101), 0.009) == 100
    assert threshold(np.ones(100), 0.1) == 1


def test_the_maximum_by_hand():
    """Two attacks: one finds both members, one neither; intervals widen with the number of attacks."""
    members_found, nobody_found = np.array([2.0, 3.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])
    scores = judge({"good": members_found, "bad": nobody_found}, seed=0)
    assert (scores["mia_good_auc"], scores["mia_bad_auc"], scores["mia_auc"]) == (1.0, 0.0, 1.0)
    assert (scores["mia_tpr1"], scores["mia_bad_tpr10"]) == (1.0, 0.0)
    assert scores["mia_attacks"] == 2
    many = np.concatenate([np.arange(2000) % 7 + 1, np.arange(2000) % 7])
    together, alone = judge({"good": many, "bad": -many}, seed=0), judge({"good": many}, seed=0)
    assert 0 < together["mia_good_tpr10_low"] < alone["mia_good_tpr10_low"] < alone["mia_tpr10"]
    assert together["mia_good_tpr10_high"] > alone["mia_good_tpr10_high"]


def test_what_chance_gives():
    """Oracles: many tables on which nine attacks know nothing, the mean of their maxima and what 5 % of those exceed; the
    same attack nine times has the chance of one; 1 is no chance of a leak's."""
    rng = np.random.default_rng(0)
    tables = [{str(name): rng.normal(size=300) for name in range(9)} for _ in range(300)]
    measures = (auc, at_one_per_cent)
    truth = [[max(float(f(*np.split(one, 2))) for one in table.values()) for table in tables] for f in measures]
    told = [by_chance(table, seed) for seed, table in enumerate(tables[:20])]
    for key, maxima in zip(("auc", "tpr1"), truth, strict=True):
        near = 4 * np.std(maxima) / np.sqrt(300)
        assert abs(np.mean([one[f"mia_{key}_chance"] for one in told]) - np.mean(maxima)) < near
        exceeding = np.mean([value > one[f"mia_{key}_chance_high"] for one in told for value in maxima])
        assert exceeding < 0.08
    alone, nine = {"0": tables[0]["0"]}, {str(name): tables[0]["0"] for name in range(9)}
    assert by_chance(nine, 0) == by_chance(alone, 0)
    assert by_chance(alone, 0)["mia_auc_chance"] == pytest.approx(0.5, abs=0.02)
    leak = judge({"leak": np.concatenate([np.ones(150), np.zeros(150)])}, seed=0)
    assert leak["mia_auc"] == 1 > 0.6 > leak["mia_auc_chance_high"]


def at_one_per_cent(members, others):
    return (members > threshold(others, 0.01)).mean()


@pytest.mark.parametrize("candidates", [20, 154, 1000])
def test_nobody_is_accused_by_noise(candidates):
    """Oracle: the rule: over nine attacks that know nothing, all intervals hold chance together in 95 of 100 tables."""
    rng = np.random.default_rng(0)
    accused = 0
    for _ in range(200):
        scores = rng.normal(size=(9, 2 * candidates))
        lows = {
            rate: max(hit_rate_interval(*np.split(one, 2), rate, 1 - 0.05 / 9)[0] for one in scores) for rate in (0.01, 0.1)
        }
        accused += any(low > rate for rate, low in lows.items())
    assert accused <= 2 * 0.05 * 200


def test_too_few_rows_say_nothing(one_sentence):
    """Oracle: the rule for what a user can cause."""
    split = line(list(range(40)), [1, 2], list(range(9)))
    with pytest.raises(BadInput) as error:
        MembershipInference()(split, split.train, seed=0)
    one_sentence(error.value, "10 rows", "but has 9", "leave it out")


def test_members_must_be_two_or_more(one_sentence):
    """The rule for what a user can cause."""
    for wrong in (1, "many", None):
        with pytest.raises(BadInput) as error:
            MembershipInference(max_members=wrong)
        one_sentence(error.value, "max_members", repr(wrong))


def test_the_same_score_twice_and_candidates_of_both_kinds(mixed_table):
    """Repetition, with numpy's global generator left as it was; by hand: as many members as others, none twice."""
    schema = mixed_table.attrs["schema"]
    split = Split("mixed", schema, *(mixed_table[k::3].reset_index(drop=True) for k in range(3)))
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    metric = MembershipInference(max_members=30)
    first, second, other = (metric(split, split.val, seed=seed) for seed in (0, 0, 1))
    assert first == second
    assert first != other
    assert np.isfinite(list(first.values())).all()
    assert metric(split, split.train, seed=0)["mia_distance_auc"] > 0.99
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    drawn = Audit.draw(split, split.train, None, 30, 0)
    fewer = drawn.first(10)
    assert len(set(drawn.own)) == len(set(drawn.others)) == 30
    assert len(set(fewer.own)) == 10
    assert set(fewer.own) < set(drawn.own)
