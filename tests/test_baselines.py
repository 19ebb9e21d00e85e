"""Baselines. Oracles: the rows of train themselves, ranges by hand, repetition, and a round trip through a folder."""

import numpy as np
import pandas as pd
import pytest

from baselines.controls import Control
from baselines.copy import Copy
from baselines.file import File
from baselines.independent import Independent
from baselines.smote import Smote
from harmonic.errors import BadInput
from harmonic.table import coerce, schema_of
from harmonic.table.infer import infer_schema
from harmonic.table.schema import attach

MAKERS = {
    "copy": Copy,
    "independent": Independent,
    "smote": lambda: Smote(k=5),
    "noisy_copy": lambda: Control("noisy_copy", 0.2),
    "half_copy": lambda: Control("half_copy"),
    "shuffled_target": lambda: Control("shuffled_target"),
    "majority": lambda: Control("majority"),
}


@pytest.fixture
def train(mixed_frame, request):
    """Every kind of column; for SMOTE without free text, which it refuses."""
    frame = mixed_frame.drop(columns="note") if "smote" in request.node.name else mixed_frame
    return coerce(frame, infer_schema(frame), "mixed")


@pytest.fixture
def csv(train, tmp_path):
    train.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


@pytest.fixture(params=[*MAKERS, "file"])
def make(request, csv):
    return MAKERS[request.param] if request.param in MAKERS else lambda: File(str(csv))


def as_texts(table):
    """Rows as tuples of text, by the schema: equal rows, equal tuples."""
    schema = schema_of(table)
    return list(zip(*(column.write(table[column.name]) for column in schema.columns), strict=True))


def test_rows_and_types(make, train):
    """Oracle: the number asked for, and train's own schema; also more rows than train has."""
    method = make().fit(train, seed=0)
    for n in (1, 50, 120, *(() if isinstance(method, File) else (121, 300))):
        rows = method.sample(n, seed=1)
        assert len(rows) == n
        assert list(rows.columns) == list(train.columns)
        assert schema_of(rows) == schema_of(train)
        coerce(rows, schema_of(train), "rows")
        if n >= 50:
            assert rows.dtypes.to_dict() == train.dtypes.to_dict()
        for column in schema_of(train).columns:
            for text in column.write(rows[column.name]):
                column.read(text)


def test_the_same_seed_the_same_rows(make, train):
    """Oracle: repetition, whatever the global random state; another seed gives others, but for a file, which is given."""
    method = make().fit(train, seed=0)
    np.random.seed(1)  # noqa: NPY002
    rows = method.sample(100, seed=0)
    np.random.seed(2)  # noqa: NPY002
    pd.testing.assert_frame_equal(make().fit(train, seed=0).sample(100, seed=0), rows)
    assert method.sample(100, seed=1).equals(rows) == isinstance(method, File)


def test_saved_and_loaded(make, train, tmp_path):
    """Oracle: the rows of the object that was saved, bit for bit."""
    method = make().fit(train, seed=0)
    folder = tmp_path / "saved"
    folder.mkdir()
    method.save(folder)
    restored = make().load(folder)
    pd.testing.assert_frame_equal(restored.sample(90, seed=3), method.sample(90, seed=3))
    assert schema_of(restored.sample(1, seed=3)) == schema_of(train)


def test_train_is_left_as_it_was(make, train):
    """Oracle: a copy taken before."""
    before = train.copy(deep=True)
    make().fit(train, seed=0).sample(100, seed=0)
    pd.testing.assert_frame_equal(train, before)


def test_copies_are_train_rows_each_once_before_any_twice(train):
    """Oracle: train: n rows are a permutation of it, 2n hold each row twice."""
    method = Copy().fit(train, seed=0)
    assert sorted(as_texts(method.sample(120, seed=0))) == sorted(as_texts(train))
    assert as_texts(method.sample(120, seed=0)) != as_texts(train)
    assert sorted(as_texts(method.sample(240, seed=0))) == sorted(as_texts(train) * 2)
    assert len(set(as_texts(method.sample(119, seed=0)))) == 119


def test_independent_columns_keep_their_distribution_and_lose_their_relations(train):
    """Oracle: train's own frequencies within five standard errors; a column and its twin agree no more than by chance."""
    twins = train[["label", "count", "visits"]].assign(twin=train["count"])
    schema = infer_schema(twins, target="label")
    rows = Independent().fit(attach(twins, schema), seed=0).sample(4000, seed=0)
    assert (rows["label"] == "yes").mean() == pytest.approx(1 / 3, abs=5 * np.sqrt(2 / 9 / 4000))
    assert rows["visits"].isna().mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / 4000))
    assert abs(np.corrcoef(rows["count"], rows["twin"])[0, 1]) < 5 / np.sqrt(4000)
    assert (rows["count"] == rows["twin"]).mean() < 0.1
    for name in twins:
        assert set(rows[name].dropna()) <= set(twins[name].dropna())


def test_the_controls_have_their_faults_and_no_other(train):
    """Oracle: by hand: half of the rows are train's; targets are dealt anew over the same features; one class is left."""
    known = as_texts(train)
    half = as_texts(Control("half_copy").fit(train, seed=0).sample(120, seed=0))
    assert len(set(half[:60])) == 60
    assert set(half[:60]) <= set(known)
    assert len(set(half[60:]) & set(known)) < 3
    shuffled = Control("shuffled_target").fit(train, seed=0).sample(120, seed=0)
    assert sorted(shuffled["label"]) == sorted(train["label"])
    merged = shuffled.merge(train, on="note", suffixes=("", "_true"))
    assert (merged["amount"] == merged["amount_true"]).all()
    assert 0 < (merged["label"] != merged["label_true"]).sum() < 120
    majority = Control("majority").fit(train, seed=0).sample(120, seed=0)
    assert set(majority["label"]) == {"no"}
    assert set(as_texts(majority)) <= set(known)


def test_noise_moves_every_cell_that_can_move_by_its_level(train):
    """Oracle: by hand: none at 0; at .5, noise of half a deviation, and half of the categories drawn anew; texts stay."""
    assert sorted(as_texts(Control("noisy_copy", 0).fit(train, seed=0).sample(120, seed=0))) == sorted(as_texts(train))
    noisy = Control("noisy_copy", 0.5).fit(train, seed=0).sample(120, seed=0).merge(train, on="note", suffixes=("", "_true"))
    moved = (noisy["amount"] - noisy["amount_true"]).std()
    assert moved == pytest.approx(0.5 * train["amount"].std(), rel=0.25)
    redrawn = (noisy["label"] != noisy["label_true"]).mean()
    assert redrawn == pytest.approx(0.5 * 2 * (1 / 3) * (2 / 3), abs=0.12)  # drawn anew, and another
    assert noisy["visits"].isna().equals(noisy["visits_true"].isna())


def test_a_number_has_no_majority(one_sentence):
    """Oracle: the rule for what a user can cause."""
    frame = pd.DataFrame({"x": np.arange(50) / 2, "y": 3 * np.arange(50) / 2})
    with pytest.raises(BadInput) as error:
        Control("majority").fit(coerce(frame, infer_schema(frame), "made"), seed=0)
    one_sentence(error.value, "majority")


def test_smote_stays_within_its_classes(train):
    """Oracle: interpolation's own bounds: per class the range of each number, and its categories; classes as in train."""
    schema = schema_of(train)
    rows = Smote(k=5).fit(train, seed=0).sample(240, seed=0)
    assert rows["label"].value_counts().to_dict() == {"no": 160, "yes": 80}
    for label in ("no", "yes"):
        ours, theirs = rows[rows["label"] == label], train[train["label"] == label]
        for column in schema.features:
            if column.is_numeric:
                known, made = column.numbers(theirs[column.name]), column.numbers(ours[column.name])
                assert np.nanmin(known) <= np.nanmin(made) <= np.nanmax(made) <= np.nanmax(known)
            else:
                assert set(ours[column.name].dropna()) <= set(theirs[column.name].dropna())
    assert len(set(as_texts(rows)) & set(as_texts(train))) < 24  # it invents rows


def test_smote_interpolates_by_hand():
    """Oracle: by hand: two rows per class, so each new row lies on the segment between them."""
    frame = pd.DataFrame({"x": [0.0, 4.0, 10.0, 30.0], "y": [0.0, 8.0, 5.0, 5.5], "label": ["a", "a", "b", "b"]})
    schema = infer_schema(frame, columns={"x": {"places": 6}, "y": {"places": 6}})
    rows = Smote(k=1).fit(coerce(frame, schema, "made"), seed=0).sample(100, seed=0)
    a, b = (rows[rows["label"] == label] for label in "ab")
    assert len(a) == len(b) == 50
    np.testing.assert_allclose(a["y"], 2 * a["x"], atol=1e-5)
    np.testing.assert_allclose(b["y"] - 5, (b["x"] - 10) / 40, atol=1e-5)
    assert a["x"].between(0, 4).all()
    assert a["x"].nunique() > 40


def test_smote_takes_the_most_frequent_category_by_hand():
    """Oracle: SMOTE-NC's rule: all five neighbours of the class are red but for the odd one, which never wins."""
    colours = ["red"] * 7 + ["blue"]
    frame = pd.DataFrame({"x": range(16), "colour": colours + ["green"] * 7 + ["red"], "label": ["a"] * 8 + ["b"] * 8})
    rows = Smote(k=5).fit(coerce(frame, infer_schema(frame), "made"), seed=0).sample(160, seed=0)
    assert set(rows.loc[rows["label"] == "a", "colour"]) == {"red"}
    assert set(rows.loc[rows["label"] == "b", "colour"]) == {"green"}


def test_smote_stays_within_small_classes():
    """Oracle: by hand: between 100 and 102 for the class of three, and the row itself for that of one."""
    frame = pd.DataFrame({"x": [*np.arange(20.0), 100, 101, 102, 500], "y": ["a"] * 20 + ["b"] * 3 + ["c"]})
    rows = Smote(k=5).fit(coerce(frame, infer_schema(frame), "made"), seed=0).sample(240, seed=0)
    assert rows["x"][rows["y"] == "b"].between(100, 102).all()
    assert rows["x"][rows["y"] == "b"].nunique() > 1
    assert (rows["x"][rows["y"] == "c"] == 500).all()
    assert (rows["y"] == "c").sum() == 10


def test_smote_with_empty_cells(train):
    """Oracle: the rule: an empty cell comes from a row that has one, and from no arithmetic."""
    rows = Smote(k=5).fit(train, seed=0).sample(240, seed=0)
    empty = rows.isna().mean()
    assert (empty[["amount", "count", "member", "day", "label"]] == 0).all()
    # 10 % of the starting points are empty; a full start with an empty partner stays full.
    assert empty["visits"] == pytest.approx(0.1, abs=0.001)


def test_smote_of_a_regression_target():
    """Oracle: by hand: the target is interpolated like any number, and stays on the line y = 3x."""
    frame = pd.DataFrame({"x": np.arange(50) / 2, "y": 3 * np.arange(50) / 2})
    schema = infer_schema(frame, columns={"x": {"places": 6}, "y": {"places": 6}})
    assert schema.task == "regression"
    rows = Smote(k=3).fit(coerce(frame, schema, "made"), seed=0).sample(100, seed=0)
    np.testing.assert_allclose(rows["y"], 3 * rows["x"], atol=1e-5)


def test_smote_with_too_few_rows(train, one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        Smote(k=120).fit(train, seed=0)
    one_sentence(error.value, "119", "120")


def test_a_file_is_scored_as_it_is(csv, train):
    """Oracle: the file, in its order; as many rows as it has unless fewer are asked for."""
    method = File(str(csv)).fit(train, seed=0)
    assert method.rows == 120
    assert as_texts(method.sample(120, seed=0)) == as_texts(train)
    assert as_texts(method.sample(7, seed=9)) == as_texts(train)[:7]


def test_the_files_content_counts_not_its_name(csv):
    """Oracle: SHA-256: another content is another result, and the old content the old one."""
    first = File(str(csv)).digest_inputs()
    content = csv.read_text()
    csv.write_text(content + "\n")
    assert File(str(csv)).digest_inputs() != first
    csv.write_text(content)
    assert File(str(csv)).digest_inputs() == first


def test_a_file_that_is_not_there(train, tmp_path, one_sentence):
    """Oracle: the rule for what a user can cause."""
    for act in (lambda file: file.digest_inputs(), lambda file: file.fit(train, seed=0)):
        with pytest.raises(BadInput) as error:
            act(File(str(tmp_path / "no.csv")))
        one_sentence(error.value, "no.csv")


@pytest.mark.parametrize("invalid", ["error", "drop"])
def test_a_file_with_other_columns(csv, train, one_sentence, invalid):
    """Oracle: the same rule; a wrong column is no matter of single rows."""
    pd.read_csv(csv).rename(columns={"amount": "amonut"}).to_csv(csv, index=False)
    with pytest.raises(BadInput) as error:
        File(str(csv), invalid).fit(train, seed=0)
    one_sentence(error.value, "rows.csv", "'amount'", "'amonut'")


def test_a_file_with_fewer_rows_than_asked(csv, train, one_sentence):
    """Oracle: the rule that a shorter table is an error."""
    with pytest.raises(BadInput) as error:
        File(str(csv)).fit(train, seed=0).sample(121, seed=0)
    one_sentence(error.value, "n_samples=121", "120")


def test_invalid_rows_of_a_file(csv, train, one_sentence):
    """Oracle: by hand: rows 4 and 9 break the schema; they are named, or dropped and counted."""
    frame = pd.read_csv(csv, dtype=str, keep_default_na=False)
    frame.loc[3, "grade"] = "Z"
    frame.loc[8, "count"] = "many"
    frame.to_csv(csv, index=False)
    with pytest.raises(BadInput) as error:
        File(str(csv)).fit(train, seed=0)
    one_sentence(error.value, "rows.csv", "'count'", "row 9", "'many'")
    method = File(str(csv), "drop").fit(train, seed=0)
    assert method.report == {"rows_in_file": 120, "rows_dropped": 2}
    assert method.rows == 118
    kept = [text for place, text in enumerate(as_texts(train)) if place not in (3, 8)]
    assert as_texts(method.sample(118, seed=0)) == kept


def test_a_file_of_which_nothing_is_valid(csv, train, one_sentence):
    """Oracle: the rule for what a user can cause."""
    pd.read_csv(csv).assign(label="maybe").to_csv(csv, index=False)
    with pytest.raises(BadInput) as error:
        File(str(csv), "drop").fit(train, seed=0)
    one_sentence(error.value, "rows.csv")


def test_an_unknown_way_with_invalid_rows(csv, one_sentence):
    """Oracle: the same rule: a misspelt option must not pass for the default."""
    with pytest.raises(BadInput) as error:
        File(str(csv), "dorp")
    one_sentence(error.value, "error", "drop", "dorp")
