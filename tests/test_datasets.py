"""Loading: the published sets, the bundled sets, the user's own file, and every way in which input can be bad."""

import socket
from dataclasses import replace

import hydra.utils
import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from harmonic import as_table
from harmonic.datasets import File, Folder, configured, known_names, load_dataset, read_csv
from harmonic.datasets.bundled import BUNDLED
from harmonic.datasets.catalogue import CONF
from harmonic.datasets.download import rows_digest
from harmonic.errors import BadInput
from harmonic.table import schema_of
from harmonic.table.infer import infer_schema

BUNDLED_ROWS = {"affairs": 6366, "placements": 215, "wine": 178, "breast_cancer": 569, "progression": 442}
"""From the documentation of statsmodels, SDMetrics and scikit-learn."""
PAPER = {
    "german": ((700, 100, 200), (13, 7), "status", {"0": 494, "1": 206}),
    "adult": ((26048, 6513, 16281), (8, 6), "class", {"0": 19775, "1": 6273}),
    "diabetes": ((491, 123, 154), (0, 8), "Outcome", {"0": 320, "1": 171}),
    "buddy": ((12053, 3014, 3767), (5, 4), "breed_category", {"0": 5760, "1": 5348, "2": 945}),
}
"""The paper's table of data sets: rows, (category, numeric) features, target, its counts in train."""


@pytest.fixture
def offline(monkeypatch):
    def refuse(*arguments, **settings):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def write(path, n=60, **columns):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": rng.integers(0, 90, n), "colour": rng.choice(["red", "blue"], n), "y": ["a", "b", "a"] * (n // 3)}
    ).assign(**columns)
    frame.to_csv(path, index=False)
    return frame


@pytest.mark.paper_data
@pytest.mark.parametrize("name", PAPER)
def test_paper_sets_are_the_papers(paper_data_dir, name):
    rows, (categories, numbers), target, counts = PAPER[name]
    split = load_dataset(name, data_dir=paper_data_dir)
    assert (len(split.train), len(split.val), len(split.test)) == rows
    assert sum(column.is_numeric for column in split.schema.features) == numbers
    assert sum(column.kind == "category" for column in split.schema.features) == categories
    assert split.schema.names[-1] == split.schema.target == target
    assert split.train[target].astype(str).value_counts().to_dict() == counts


@pytest.mark.paper_data
@pytest.mark.parametrize(
    ("name", "parts"), [("german", "train val test"), ("adult", "train val"), ("diabetes", "train val test")]
)
def test_configured_digest_is_that_of_the_papers_rows(paper_data_dir, name, parts):
    """So that a download that passes holds the paper's rows."""
    tables = [read_csv(paper_data_dir / name / f"{part}.csv") for part in parts.split()]
    source = configured(name).download
    assert rows_digest(pd.concat(tables)) == source.rows_digest
    if name == "adult":
        assert rows_digest(read_csv(paper_data_dir / name / "test.csv")) == source.test_rows_digest


@pytest.mark.paper_data
def test_folds_leave_test_alone_and_part_the_rest(paper_data_dir):
    """Oracle: the published parts: five folds hold each row of train and val once, the classes as often, no row of test."""
    whole = load_dataset("german", data_dir=paper_data_dir)
    folds = [replace(configured("german", paper_data_dir), fold=fold).load(seed=3) for fold in range(5)]
    pool = pd.concat([whole.train, whole.val])
    stands_in = [pd.concat([fold.train, fold.val, fold.test]) for fold in folds]
    columns = list(pool.columns)
    for table in (*stands_in, pd.concat([fold.test for fold in folds])):
        assert table.sort_values(columns).to_numpy().tolist() == pool.sort_values(columns).to_numpy().tolist()
    for fold in folds:
        assert fold.schema == whole.schema
        assert fold.test["status"].mean() == pytest.approx(pool["status"].mean(), abs=0.01)
        assert len(fold.val) == pytest.approx(len(fold.train) / 7, abs=1)
    other_seed = replace(configured("german", paper_data_dir), fold=0).load(seed=4)
    pd.testing.assert_frame_equal(other_seed.test, folds[0].test)


@pytest.mark.paper_data
@pytest.mark.parametrize("fold", [-1, 5, "all"])
def test_there_are_five_folds(paper_data_dir, fold):
    with pytest.raises(BadInput, match=r"dataset\.fold must be null or a number from 0 to 4, but is"):
        replace(configured("german", paper_data_dir), fold=fold).load(seed=0)


@pytest.mark.parametrize("name", BUNDLED_ROWS)
def test_bundled_sets_are_whole_and_split_as_said(offline, name):
    split = load_dataset(name)
    total = BUNDLED_ROWS[name]
    parts = [split.train, split.val, split.test]
    assert sum(map(len, parts)) == total
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert len(part) == pytest.approx(share * total, abs=1.5)
        assert list(part.columns) == split.schema.names
    assert split.schema.names[-1] == split.schema.target
    assert split.hygiene["rows"]["train"] == len(split.train)


def test_bundled_rows_stand_in_exactly_one_part():
    split = load_dataset("wine")
    whole = BUNDLED["wine"]()
    together = pd.concat([split.train, split.val, split.test])
    assert rows_digest(together) == rows_digest(whole)


@pytest.mark.parametrize("name", ["affairs", "placements", "wine", "breast_cancer"])
def test_classes_are_stratified(name):
    split = load_dataset(name)
    target = split.schema.target
    whole = pd.concat([split.train, split.val, split.test])[target].value_counts(normalize=True)
    for part in (split.train, split.val, split.test):
        assert part[target].value_counts().to_dict() == pytest.approx((whole * len(part)).to_dict(), abs=1.01)


def test_the_seed_decides_the_split_and_zero_is_a_seed():
    digests = [load_dataset("wine", seed=seed).digest for seed in (0, 1, 2, 0)]
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3


def test_the_domain_of_one_table_comes_from_the_whole_of_it(tmp_path):
    """A maximum or a category that falls into test is still in the schema."""
    write(tmp_path / "t.csv", size=range(60), colour=["rare"] + ["red"] * 30 + ["blue"] * 29)
    for seed in range(5):
        schema = File(str(tmp_path / "t.csv")).load(seed).schema
        assert (schema["size"].low, schema["size"].high) == (0, 59)
        assert schema["colour"].categories == ("blue", "rare", "red")


@pytest.mark.parametrize("name", [*known_names(), "csv"])
def test_each_yaml_is_bound_to_its_constructor(monkeypatch, name):
    """Hydra and `configured` build the same object."""
    config = OmegaConf.create({"data_dir": "some/folder", "dataset": OmegaConf.load(CONF / f"{name}.yaml")})
    if name == "csv":
        config.dataset.path = "my.csv"
        assert hydra.utils.instantiate(config.dataset) == File("my.csv")
    else:
        assert hydra.utils.instantiate(config.dataset) == configured(name, "some/folder")


def test_data_dir_comes_from_the_argument_then_the_variable_then_data(monkeypatch):
    monkeypatch.setenv("HARMONIC_DATA_DIR", "theirs")
    assert configured("german", "mine").data_dir == "mine"
    assert configured("german").data_dir == "theirs"
    monkeypatch.setenv("HARMONIC_DATA_DIR", "")
    assert configured("german").data_dir == "data"
    monkeypatch.delenv("HARMONIC_DATA_DIR")
    assert configured("german").data_dir == "data"


def test_a_csv_with_a_target_in_the_middle(tmp_path):
    write(tmp_path / "mine.csv")
    split = File(str(tmp_path / "mine.csv"), target="colour", drop=["size"]).load(0)
    assert split.schema.names == ["y", "colour"]
    assert (split.name, split.schema.task, split.schema.description) == ("mine", "binary", "mine")
    assert load_dataset(tmp_path / "mine.csv").schema.target == "y"


def test_a_dataframe_as_a_table(one_sentence):
    """Oracle: what the same rows are as a file, all of them; what is said of them is what a method's fit learns of."""
    frame = pd.DataFrame({"id": range(40), 2020: [0, 1] * 20, "low": range(40), "high": range(1, 41), "zip": [7, 8] * 20})
    said = {"target": "2020", "drop": ["id"], "columns": {"zip": "category"}, "constraints": ["high > low"]}
    table = as_table(frame, description="towns", **said)
    schema = schema_of(table)
    assert table.columns.tolist() == schema.names == ["low", "high", "zip", "2020"]
    assert (schema.target, schema.task, schema.description) == ("2020", "binary", "towns")
    assert schema["zip"].categories == ("7", "8") and schema.constraints == ("high > low",)
    assert len(table) == 40 and table["low"].tolist() == list(range(40))
    assert schema_of(as_table(frame)) == infer_schema(frame.rename(columns=str))
    with pytest.raises(BadInput) as error:
        infer_schema(frame)
    one_sentence(error.value, "train must have texts for column names, but has 2020")
    with pytest.raises(BadInput) as error:
        as_table(frame, target="price")
    one_sentence(error.value, "the DataFrame must hold the target column 'price'")


def test_a_csv_with_its_own_test_rows(tmp_path):
    write(tmp_path / "train.csv", n=80 // 3 * 3)
    test = write(tmp_path / "test.csv", n=9)
    split = File(str(tmp_path / "train.csv"), test_path=str(tmp_path / "test.csv")).load(0)
    assert (len(split.train), len(split.val)) == (68, 10)  # 78 rows, an eighth (rounded up) for val
    pd.testing.assert_frame_equal(split.test, test)


def test_a_test_file_need_not_have_what_is_dropped(tmp_path):
    """Oracle: the rule: there is nothing to drop."""
    rows = pd.DataFrame({"id": range(40), "x": [n % 7 for n in range(40)], "y": ["a", "b"] * 20})
    rows.to_csv(tmp_path / "train.csv", index=False)
    rows.drop(columns="id").to_csv(tmp_path / "test.csv", index=False)
    split = File(str(tmp_path / "train.csv"), drop=["id"], test_path=str(tmp_path / "test.csv")).load(0)
    assert list(split.test) == ["x", "y"]


@pytest.mark.parametrize("setting", [{"description": 2024}, {"constraints": [1]}, {"test_path": 5}, {"path": 5}])
def test_settings_that_are_no_text(tmp_path, one_sentence, setting):
    """Oracle: the rule for what a user can cause: numbers are what a command line makes of digits."""
    pd.DataFrame({"x": [n % 7 for n in range(40)], "y": ["a", "b"] * 20}).to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(BadInput) as error:
        File(**{"path": str(tmp_path / "mine.csv"), **setting}).load(0)
    one_sentence(error.value, f"dataset.{next(iter(setting))} must be text")


def test_a_folder_is_read_as_it_stands(tmp_path):
    (tmp_path / "mine").mkdir()
    frames = {part: write(tmp_path / "mine" / f"{part}.csv", n=n) for part, n in (("train", 30), ("val", 3), ("test", 6))}
    splits = [Folder("mine", str(tmp_path), "y").load(seed) for seed in (0, 1)]
    pd.testing.assert_frame_equal(splits[0].train, frames["train"])
    pd.testing.assert_frame_equal(splits[0].test, frames["test"])
    assert splits[0].digest == splits[1].digest


def test_numbers_are_read_to_their_last_bit(tmp_path):
    """pandas' default parser reads some of these one bit off; Python's float is the oracle."""
    texts = [repr(value) for value in (np.random.default_rng(0).random(2000) * 1e-3).tolist()]
    (tmp_path / "t.csv").write_text("x\n" + "\n".join(texts) + "\n")
    assert read_csv(tmp_path / "t.csv")["x"].tolist() == [float(text) for text in texts]


@pytest.mark.parametrize("name", ["german", "adult", "diabetes", "abalone", "california", "buddy"])
def test_missing_folder_while_offline(offline, tmp_path, one_sentence, name):
    with pytest.raises(BadInput) as error:
        load_dataset(name, data_dir=tmp_path / "data")
    one_sentence(
        error.value,
        str(tmp_path / "data" / name),
        "train.csv, val.csv and test.csv",
        "HARMONIC_DATA_DIR",
        "data_dir",
        "affairs, placements, wine, breast_cancer, progression",
        "HackerEarth" if name == "buddy" else "cannot be reached",
    )
    assert not list(tmp_path.rglob("*.csv"))


def test_a_folder_that_lacks_one_file_is_not_downloaded_over(offline, tmp_path, one_sentence):
    (tmp_path / "german").mkdir()
    for part in ("train", "test"):
        write(tmp_path / "german" / f"{part}.csv")
    with pytest.raises(BadInput) as error:
        load_dataset("german", data_dir=tmp_path)
    one_sentence(error.value, "val.csv is not there")
    assert "reached" not in str(error.value)


def test_unknown_name(one_sentence):
    for name in ("aduld", "csv", "../dataset/adult"):
        with pytest.raises(BadInput) as error:
            load_dataset(name)
        one_sentence(error.value, repr(name), "adult", "affairs", ".csv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("there is none", "check the path")),
        (b"", ("is empty",)),
        (b"\n\n", ("is empty",)),
        (b"x,y\n", ("rows below its header",)),
        ("x,y\ncafé,1\n".encode("latin-1"), ("UTF-8", "0xe9")),
        ("x,y\n1,2\n".encode("utf-16"), ("UTF-8",)),
        (b"x,y\n1,2\n1,2,3\n", ("equal length", "line 3, saw 3")),
        (b'y,a,b\n"p\nq",7,1\n\nr,8\n', ("equal length", "row 2 has 2 of 3")),
        (b"NA,y,NA\n1,2,3\n", ("'NA'", "twice")),
        (b"x,y\n1,2,3\n4,5,6\n", ("longer than its header",)),
        (b'x,y\n"1,2\n', ("EOF inside string",)),
        (b"x,y,x\n1,2,3\n", ("'x'", "twice", "rename")),
    ],
)
def test_files_that_are_no_table(tmp_path, one_sentence, content, words):
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput) as error:
        load_dataset(path)
    one_sentence(error.value, "mine.csv", *words)


def test_a_folder_in_place_of_a_file(tmp_path, one_sentence):
    (tmp_path / "mine.csv").mkdir()
    with pytest.raises(BadInput) as error:
        load_dataset(tmp_path / "mine.csv")
    one_sentence(error.value, "mine.csv", "folder")


@pytest.mark.parametrize(
    ("columns", "settings", "words"),
    [
        ({}, {"target": "z"}, ("'z'", "size, colour, y", "dataset.target")),
        ({"y": "a"}, {}, ("target 'y'", "two classes", "'a'")),
        ({"y": None}, {}, ("target 'y'", "no value")),
        ({"y": ["a", None, "b"] * 20}, {}, ("target 'y'", "empty in 20 of 60", "row 2")),
        ({"y": ["b"] + ["a"] * 59}, {}, ("'y'", "59 of 60")),
        ({"colour": "red"}, {}, ("column 'colour'", "one value ('red')", "dataset.drop")),
        ({"size": [np.inf, 1.0, 2.0] * 20}, {}, ("column 'size'", "row 1", "no finite number")),
        ({}, {"drop": ["y"], "target": "y"}, ("dataset.drop", "'y'")),
        ({}, {"drop": ["sice"]}, ("dataset.drop", "'sice'")),
        ({}, {"drop": ["size", "colour"]}, ("one feature", "fewer than two columns")),
        ({}, {"columns": {"sice": "integer"}}, ("dataset.columns", "'sice'")),
        ({"size": [2**63 + 7, 1, 2] * 20}, {}, ("column 'size'", f"up to {2**63 - 1}", f"holds {2**63 + 7}")),
        ({"size": [2**53 + 1, 1, 2] * 20}, {}, ("column 'size'", f"up to {2**53}", f"of size {2**53 + 1}")),
        ({"size": [10.0**17, 1.0, None] * 20}, {}, ("column 'size'", f"up to {2**53}", f"of size {10**17}")),
        ({}, {"drop": "size"}, ("dataset.drop", "a list", "'size'")),
        ({}, {"constraints": 5}, ("dataset.constraints", "a list", "5")),
        ({}, {"columns": "size"}, ("dataset.columns", "'size'")),
        ({"size": ["2", "1,000", "3"] * 20}, {"columns": {"size": "integer"}}, ("column 'size'", "found '1,000'")),
        ({"size": [1e-14, 2e-14, 3e-14] * 20}, {}, ("column 'size'", "first 10 decimal places", "smaller unit")),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, one_sentence, columns, settings, words):
    write(tmp_path / "mine.csv", **columns)
    with pytest.raises(BadInput) as error:
        for seed in range(20):  # the lone "b" has to fall out of train
            File(str(tmp_path / "mine.csv"), **settings).load(seed)
    one_sentence(error.value, *words)


def test_decimal_commas_are_a_matter_of_separators(tmp_path, one_sentence):
    """Oracle: the header alone."""
    path = tmp_path / "mine.csv"
    path.write_text("x;z;y\n" + "1,5;2,25;a\n2,5;1,25;b\n" * 9)
    with pytest.raises(BadInput) as error:
        File(str(path)).load(0)
    one_sentence(error.value, "commas between its cells", "';'")


@pytest.mark.parametrize("sign", [";", "\t"])
def test_other_separators_are_named(tmp_path, one_sentence, sign):
    write(tmp_path / "mine.csv").to_csv(tmp_path / "mine.csv", index=False, sep=sign)
    with pytest.raises(BadInput) as error:
        load_dataset(tmp_path / "mine.csv")
    one_sentence(error.value, repr(sign), "save it with commas")


def test_columns_may_be_years(tmp_path):
    """Oracle: the file; on a command line, and so in a configuration, 2020 is a number."""
    write(tmp_path / "mine.csv").set_axis(["2019", "2021", "2020"], axis=1).to_csv(tmp_path / "mine.csv", index=False)
    split = File(str(tmp_path / "mine.csv"), target=2020, drop=[2021], columns={2019: "decimal"}).load(0)
    assert (split.schema.names, split.schema["2019"].kind) == (["2019", "2020"], "decimal")


def test_later_files_are_read_as_the_first_one_says(tmp_path):
    """Oracle: the files: codes that are digits by chance are texts, and a category that train has is no empty cell."""
    codes = {"size": ["007", "V22", "010"] * 20, "colour": ["NA", "DE", "FR"] * 20}
    table = write(tmp_path / "mine.csv").assign(**codes)
    table.to_parquet(tmp_path / "mine.parquet")
    table.assign(size=["007", "010"] * 30).to_csv(tmp_path / "test.csv", index=False)
    split = File(str(tmp_path / "mine.parquet"), test_path=str(tmp_path / "test.csv")).load(0)
    assert split.test["size"].tolist() == ["007", "010"] * 30
    assert split.test["colour"].tolist() == codes["colour"]
    assert read_csv(tmp_path / "test.csv")["colour"].isna().sum() == 20


def test_codes_keep_their_zeros_and_signs(tmp_path):
    """Oracle: the file; 0, 0.5 and -01 are no codes."""
    zips = ["01004", "10001", "99999"] * 20
    write(tmp_path / "mine.csv", zip=zips, whole=[0, 1, 2] * 20, part=[0.5, 0.25, 1.0] * 20)
    frame = read_csv(tmp_path / "mine.csv")
    assert frame["zip"].tolist() == zips
    assert (frame["whole"].dtype, frame["part"].dtype) == ("int64", "float64")
    telephones, lots = ["+4917", "+4918", "+4919"] * 20, ["1E0", "2E3", "4E3"] * 20
    write(tmp_path / "more.csv", telephone=telephones, lot=lots, tiny=[1e-05, 2e-7, 1.5] * 20)
    more = read_csv(tmp_path / "more.csv")
    assert (more["telephone"].tolist(), more["lot"].tolist(), more["tiny"].dtype) == (telephones, lots, "float64")
    split = File(str(tmp_path / "mine.csv"), target="y").load(0)
    assert split.schema["zip"].categories == ("01004", "10001", "99999")
    split.test.to_csv(tmp_path / "test.csv", index=False)
    assert File(str(tmp_path / "mine.csv"), target="y", test_path=str(tmp_path / "test.csv")).load(0).test.equals(split.test)


def test_too_few_rows(tmp_path, one_sentence):
    write(tmp_path / "mine.csv", n=9, colour=["red"] * 4 + ["blue"] * 5)
    with pytest.raises(BadInput) as error:
        load_dataset(tmp_path / "mine.csv")
    one_sentence(error.value, "10 rows", "holds 9")


def test_a_category_in_test_that_train_lacks(tmp_path, one_sentence):
    write(tmp_path / "train.csv")
    write(tmp_path / "test.csv", colour=["red"] * 4 + ["green"] * 56)
    with pytest.raises(BadInput) as error:
        File(str(tmp_path / "train.csv"), test_path=str(tmp_path / "test.csv")).load(0)
    one_sentence(error.value, "test.csv", "'colour'", "row 5", "'green'", "55 more")


def test_a_folder_whose_test_lacks_the_target(tmp_path, one_sentence):
    (tmp_path / "mine").mkdir()
    for part in ("train", "val", "test"):
        write(tmp_path / "mine" / f"{part}.csv")
    pd.read_csv(tmp_path / "mine" / "test.csv").drop(columns="y").to_csv(tmp_path / "mine" / "test.csv", index=False)
    with pytest.raises(BadInput) as error:
        Folder("mine", str(tmp_path), "y").load(0)
    one_sentence(error.value, "mine/test.csv", "'y'")
