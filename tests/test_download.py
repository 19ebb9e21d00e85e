"""Downloads, against a stand-in server and stand-ins for scikit-learn's fetchers; nothing leaves the machine."""

import functools
import hashlib
import http.server
import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from harmonic.datasets.download import (
    CALIFORNIA_COLUMNS,
    UCI,
    ByHand,
    California,
    OpenML,
    Rows,
    Unreachable,
    download_into,
    rows_digest,
)
from harmonic.errors import BadInput

ADULT_TRAIN = "39, State-gov, 77516, <=50K\n50, ?, 83311, >50K\n28, Private, 338409, >50K\n\n"
ADULT_TEST = "|1x3 Cross validator\n25, Private, 226802, <=50K.\n44, ?, 160323, >50K.\n\n"
TRAIN_ROWS = "39.0,State-gov,77516.0,0\n50.0,,83311.0,1\n28.0,Private,338409.0,1\n"
TEST_ROWS = "25.0,Private,226802.0,0\n44.0,,160323.0,1\n"
HEADER = "age,workclass,fnlwgt,class"


def digest_by_hand(rows: str, header: str = HEADER) -> str:
    """The definition, on text typed by hand; a numeric class reads as 0.0."""
    lines = sorted(line + ".0" for line in rows.splitlines())
    return hashlib.sha256("\n".join([header, *lines]).encode()).hexdigest()


@pytest.fixture
def server(tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    root = tmp_path / "server"
    (root / "adult").mkdir(parents=True)
    (root / "adult" / "adult.data").write_text(ADULT_TRAIN)
    (root / "adult" / "adult.test").write_text(ADULT_TEST)
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{listening.server_port}", root=root)
        listening.shutdown()


def adult(url, **settings):
    defaults = {
        "path": "adult/adult.data",
        "columns": HEADER.split(","),
        "classes": {"<=50K": 0, ">50K": 1},
        "rows_digest": digest_by_hand(TRAIN_ROWS),
        "test_path": "adult/adult.test",
        "test_rows_digest": digest_by_hand(TEST_ROWS),
        "floats": True,
        "base_url": url,
    }
    return UCI(**{**defaults, **settings})


def test_digest_is_as_defined_and_knows_no_order_and_no_number_type():
    frame = pd.DataFrame({"n": [3, 10], "t": ["b", None]})
    expected = hashlib.sha256(b"n,t\n10.0,\n3.0,b").hexdigest()
    assert rows_digest(frame) == rows_digest(frame[::-1].astype({"n": "float64"})) == expected
    assert rows_digest(frame.assign(n=[3, 11])) != expected
    assert rows_digest(frame.rename(columns={"n": "m"})) != expected


def test_uci_rows_are_those_typed_by_hand(server):
    rows = adult(server.url).fetch()
    assert rows.rest.to_csv(index=False) == f"{HEADER}\n{TRAIN_ROWS}"
    assert rows.test.to_csv(index=False) == f"{HEADER}\n{TEST_ROWS}"


def test_uci_separated_by_blanks_with_integers(server):
    (server.root / "german.data").write_text("A11 6 A34 1\nA12 48 A32 2\n")
    expected = hashlib.sha256(b"a,b,c,status\nA11,6.0,A34,0.0\nA12,48.0,A32,1.0").hexdigest()
    source = UCI("german.data", ["a", "b", "c", "status"], {1: 0, 2: 1}, expected, separator=r"\s+", base_url=server.url)
    assert source.fetch().rest.to_csv(index=False) == "a,b,c,status\nA11,6,A34,0\nA12,48,A32,1\n"


@pytest.mark.parametrize("file", ["adult.data", "adult.test"])
def test_other_rows_are_refused_and_nothing_is_written(server, tmp_path, one_sentence, file):
    path = server.root / "adult" / file
    path.write_text(path.read_text().replace("Private", "Public"))
    with pytest.raises(BadInput) as error:
        download_into(adult(server.url), tmp_path / "data" / "adult", None)
    expected = digest_by_hand(TRAIN_ROWS if file == "adult.data" else TEST_ROWS)
    found = digest_by_hand((TRAIN_ROWS if file == "adult.data" else TEST_ROWS).replace("Private", "Public"))
    one_sentence(error.value, expected, found, file, "nothing was written")
    assert not (tmp_path / "data").exists()


def test_an_unknown_class_is_refused(server, one_sentence):
    with pytest.raises(BadInput) as error:
        adult(server.url, classes={"<=50K": 0}).fetch()
    one_sentence(error.value, "digest")


def test_an_empty_answer_is_refused(server, one_sentence):
    (server.root / "adult" / "adult.data").write_text("")
    with pytest.raises(BadInput) as error:
        adult(server.url).fetch()
    one_sentence(error.value, "adult.data")


def test_a_file_that_is_gone(server):
    with pytest.raises(Unreachable, match=r"adult/gone.data cannot be reached \(HTTP Error 404"):
        adult(server.url, path="adult/gone.data").fetch()


def test_a_server_that_is_gone():
    with pytest.raises(Unreachable, match="cannot be reached"):
        adult("http://127.0.0.1:9").fetch()


def test_openml_names_classes_and_storage(monkeypatch):
    def fetch_openml(**settings):
        assert settings["data_id"] == 37
        frame = pd.DataFrame({"mass": [33.6, 26.6], "preg": [6, 1], "class": ["tested_positive", "tested_negative"]})
        return SimpleNamespace(frame=frame.astype({"class": "category"}))

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
    expected = "Pregnancies,BMI,Outcome\n6.0,33.6,1\n1.0,26.6,0\n"
    source = OpenML(
        37,
        {"preg": "Pregnancies", "mass": "BMI", "class": "Outcome"},
        hashlib.sha256(b"Pregnancies,BMI,Outcome\n1.0,26.6,0.0\n6.0,33.6,1.0").hexdigest(),
        {"tested_negative": 0, "tested_positive": 1},
    )
    assert source.fetch().rest.to_csv(index=False) == expected


def test_openml_regression_target_given_as_categories(monkeypatch):
    frame = pd.DataFrame({"Sex": ["M", "F"], "Rings": ["15", "7"]}).astype("category")
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **settings: SimpleNamespace(frame=frame))
    expected = hashlib.sha256(b"Sex,Rings\nF,7.0\nM,15.0").hexdigest()
    rows = OpenML(183, {"Sex": "Sex", "Rings": "Rings"}, expected).fetch()
    assert rows.rest.to_csv(index=False) == "Sex,Rings\nM,15\nF,7\n"


def test_openml_that_changed_its_columns(monkeypatch, one_sentence):
    frame = pd.DataFrame({"sex": ["M"]})
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **settings: SimpleNamespace(frame=frame))
    with pytest.raises(BadInput) as error:
        OpenML(183, {"Sex": "Sex"}, "").fetch()
    one_sentence(error.value, "OpenML data set 183", "lacks Sex")


def test_california_is_rounded_to_the_published_precision(monkeypatch):
    """The quotients of StatLib's integers, 880/126 and 129/126, at single precision."""
    row = dict.fromkeys(CALIFORNIA_COLUMNS, 1.0) | {"AveRooms": 880 / 126, "AveBedrms": 129 / 126, "MedHouseVal": 4.526}
    frame = pd.DataFrame([row])[list(reversed(CALIFORNIA_COLUMNS))]
    monkeypatch.setattr("sklearn.datasets.fetch_california_housing", lambda **settings: SimpleNamespace(frame=frame))
    header = "longitude,latitude,housing_median_age,total_rooms,total_bedrooms,population,households,median_income,"
    text = f"{header}median_house_value\n1.0,1.0,1.0,6.984127,1.0238096,1.0,1.0,1.0,4.526"
    rows = California(hashlib.sha256(text.encode()).hexdigest()).fetch()
    assert rows.rest.to_csv(index=False) == text + "\n"


def test_by_hand_says_where():
    with pytest.raises(Unreachable, match="get it there"):
        ByHand("get it there").fetch()


def made(n, test=False, **settings):
    frame = pd.DataFrame({"x": np.arange(n) / 4, "y": np.arange(n) % 2})
    rows = Rows(frame, pd.DataFrame({"x": [900.0], "y": [1]}) if test else None, **settings)
    return SimpleNamespace(fetch=lambda: rows), frame


def test_the_split_is_scikit_learns_on_the_rows_in_their_order(tmp_path):
    source, frame = made(100, test_seed=42, val_seed=7, val_share=0.125)
    download_into(source, tmp_path / "made", "binary")
    rest, test = train_test_split(frame, test_size=20, random_state=42, stratify=frame["y"])
    train, val = train_test_split(rest, test_size=10, random_state=7, stratify=rest["y"])
    for name, expected in (("train", train), ("val", val), ("test", test)):
        assert (tmp_path / "made" / f"{name}.csv").read_text() == expected.to_csv(index=False)


def test_a_source_with_test_rows_keeps_them(tmp_path):
    source, frame = made(100, test=True, val_seed=1)
    download_into(source, tmp_path / "made", "regression")
    train, val = train_test_split(frame, test_size=20, random_state=1)
    assert (tmp_path / "made" / "test.csv").read_text() == "x,y\n900.0,1\n"
    assert (tmp_path / "made" / "val.csv").read_text() == val.to_csv(index=False)
    assert (tmp_path / "made" / "train.csv").read_text() == train.to_csv(index=False)


def test_a_folder_that_is_there_keeps_its_other_files(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "README").write_text("mine")
    download_into(made(100)[0], tmp_path / "made", "binary")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["README", "made", "test.csv", "train.csv", "val.csv"]


def test_a_place_that_cannot_be_written(tmp_path, one_sentence):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput) as error:
        download_into(made(100)[0], tmp_path / "file" / "made", "binary")
    one_sentence(error.value, str(tmp_path / "file" / "made"), "HARMONIC_DATA_DIR")


@pytest.fixture
def script():
    path = Path(__file__).parent.parent / "scripts" / "download_data.py"
    spec = importlib.util.spec_from_file_location("download_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_says_in_a_line_what_cannot_be_had(script, tmp_path, capsys, one_sentence):
    assert script.main(["buddy", "--data-dir", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    one_sentence(err.removesuffix("\n"), "Adopt a buddy", "HackerEarth")
    assert script.main(["wine"]) == 1
    one_sentence(capsys.readouterr().err.removesuffix("\n"), "wine", "dependency")


def test_the_script_prints_folder_and_digests(script, tmp_path, capsys):
    download_into(made(100)[0], tmp_path / "german", "binary")
    assert script.main(["german", "--data-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == str(tmp_path / "german")
    assert [line.split()[0] for line in out[1:]] == ["train.csv", "val.csv", "test.csv"]
    assert out[3].split()[-1] == rows_digest(pd.read_csv(tmp_path / "german" / "test.csv"))


def test_two_that_want_the_same_rows_do_not_mind_each_other(tmp_path):
    """Oracle: the rows, whoever was first; twenty times, from two threads that begin together."""
    for number in range(20):
        folder, start = tmp_path / str(number), threading.Barrier(2)

        def fetch(folder=folder, start=start):
            source = made(100)[0]
            start.wait()
            download_into(source, folder, "binary")

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(fetch) for _ in range(2)]:
                done.result()
        assert sorted(path.name for path in folder.iterdir()) == ["test.csv", "train.csv", "val.csv"]
        assert len(pd.read_csv(folder / "test.csv")) == 20
    assert not list(tmp_path.glob(".*"))
