"""What other packages are given and give back. Oracles: the table itself, upstream's own reader, and upstream's defects."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import QuantileTransformer
from tqdm import tqdm

from baselines.arrays import Arrays
from baselines.exchange import as_numbers_and_texts, as_table, collect_rows
from baselines.great import escape
from baselines.modes import REACH, ModalEncoding
from baselines.tabddpm import Diffusion
from baselines.tabddpm import Recipe as DiffusionRecipe
from harmonic.errors import SamplingFailed
from harmonic.infer import infer_schema
from harmonic.schema import attach
from harmonic.table import coerce, schema_of


@pytest.fixture
def mixed(mixed_frame):
    frame = mixed_frame.drop(columns="note")
    return coerce(frame, infer_schema(frame, target="label"), "mixed")


def test_there_and_back(mixed):
    """Oracle: the table."""
    frame = as_numbers_and_texts(mixed, schema_of(mixed))
    assert {str(dtype) for dtype in frame.dtypes} == {"float64", "object"}
    pd.testing.assert_frame_equal(as_table(frame, schema_of(mixed)), mixed)


def test_numbers_are_held_within_range(mixed):
    """Oracle: train's extremes; empty cells stay empty."""
    schema = schema_of(mixed)
    frame = as_numbers_and_texts(mixed, schema)
    for name in ("amount", "day", "moment", "visits"):
        frame[name] = np.where(np.arange(len(frame)) % 2, frame[name] - 1e9, frame[name] + 1e9)
    table = as_table(frame, schema)
    for name in ("amount", "day", "moment", "visits"):
        numbers = schema[name].numbers(table[name])
        assert (np.nanmin(numbers), np.nanmax(numbers)) == (schema[name].low, schema[name].high)
        assert (np.isnan(numbers) == mixed[name].isna()).all()


def test_arrays_there_and_back(mixed, tmp_path):
    """Oracle: the table, within a step of its quantiles; categories, holes and days exactly; also from a folder."""
    arrays = Arrays.fit(mixed)
    numbers, codes = arrays.encode(mixed)
    assert numbers.dtype == np.float32
    assert len(arrays.sizes) == codes.shape[1]
    assert (codes.max(axis=0) < arrays.sizes).all()
    assert np.abs(numbers.mean(axis=0)).max() < 0.5  # near a normal distribution
    arrays.save(tmp_path)
    for back in (arrays.decode(numbers, codes), Arrays.load(tmp_path).decode(numbers, codes)):
        for column in arrays.schema.columns:
            pd.testing.assert_series_equal(back[column.name].isna(), mixed[column.name].isna())
            if not column.is_numeric:
                pd.testing.assert_series_equal(back[column.name], mixed[column.name])
            else:
                ours, theirs = column.numbers(back[column.name]), column.numbers(mixed[column.name])
                assert np.nanmax(np.abs(ours - theirs)) <= 0.02 * (column.high - column.low)


def test_a_loaded_quantile_transformer_is_the_fitted_one(mixed, tmp_path):
    """Oracle: scikit-learn's own object; its state is restored by name, which this holds it to."""
    arrays = Arrays.fit(mixed)
    arrays.save(tmp_path)
    loaded = Arrays.load(tmp_path).quantiles
    assert isinstance(loaded, QuantileTransformer)
    numbers = np.random.default_rng(0).standard_normal((50, len(arrays.numeric)))
    np.testing.assert_array_equal(loaded.inverse_transform(numbers), arrays.quantiles.inverse_transform(numbers))


def test_modes_there_and_back(mixed, tmp_path):
    """Oracle: the table: numbers as far as a mode reaches, categories and empty cells exactly; also from a folder."""
    encoding = ModalEncoding.fit(mixed, seed=0)
    encoded = encoding.encode(mixed, np.random.default_rng(0))
    assert encoded.shape == (len(mixed), encoding.width)
    for spans in encoding.spans:
        for span in spans:
            part = encoded[:, span.start : span.start + span.size]
            assert (part.sum(axis=1) == 1).all() if span.is_choice else (np.abs(part) <= 1).all()
    encoding.save(tmp_path)
    for back in (encoding.decode(encoded), ModalEncoding.load(tmp_path).decode(encoded)):
        for column in encoding.schema.columns:
            pd.testing.assert_series_equal(back[column.name].isna(), mixed[column.name].isna())
            if not column.is_numeric:
                pd.testing.assert_series_equal(back[column.name], mixed[column.name])
            else:
                ours, theirs = column.numbers(back[column.name]), column.numbers(mixed[column.name])
                assert np.nanmean(np.abs(ours - theirs)) <= 0.05 * (column.high - column.low)


def test_frequent_values_are_modes_of_their_own():
    """Oracle: a column that is 0 in half of its rows: each 0 comes back as 0, and no other number is one."""
    rng = np.random.default_rng(0)
    gain = np.where(np.arange(200) % 2, 0.0, rng.normal(5000, 300, 200).round())
    frame = pd.DataFrame({"gain": gain.astype(int), "label": np.where(gain > 0, "a", "b")})
    table = attach(frame, infer_schema(frame, target="label"))
    encoding = ModalEncoding.fit(table, seed=0)
    assert encoding.modes[0].special == (0.0,)
    assert abs(encoding.modes[0].means[0] - 5000) < REACH * 300
    back = encoding.decode(encoding.encode(table, rng))
    assert ((back["gain"] == 0) == (frame["gain"] == 0)).all()


def test_the_posterior_of_a_category_is_bayes(mixed):
    """Oracle: Bayes' rule summed by hand over the code before the step."""
    network = Diffusion(DiffusionRecipe((8,), steps=1, timesteps=6), numbers=1, sizes=[4], classes=2, steps=1, seed=0)
    start = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    for step in range(6):
        alpha = float(network.alpha[step])
        before = float(network.retained[step - 1]) if step else 1.0
        for noised in range(4):
            earlier = before * start[0].numpy() + (1 - before) / 4
            joint = earlier * (alpha * (np.arange(4) == noised) + (1 - alpha) / 4)
            found = network._posterior(start.log(), torch.tensor([noised]), torch.tensor([step]), 4).exp()[0]
            np.testing.assert_allclose(found, joint / joint.sum(), atol=1e-5)


def test_the_schedule_forgets_everything():
    """Oracle: the cosine of Nichol and Dhariwal at its ends."""
    network = Diffusion(DiffusionRecipe((8,), steps=1), numbers=1, sizes=[2], classes=2, steps=1, seed=0)
    kept = network.retained.numpy()
    assert (np.diff(kept) < 0).all()
    assert kept[0] > 0.99
    assert kept[-1] < 1e-3
    np.testing.assert_allclose(np.cumprod(network.alpha.numpy()), kept, rtol=1e-4)


TEXTS = [
    "plain",
    "a, b",
    "50 %",
    "None",
    "placeholder",
    " lead",
    "trail ",
    "it is so",
    "is",
    "line\nfeed",
    "%2C",
    "é, ü",
    "12.50",
]


@pytest.mark.parametrize("name", ["plain", "size, or so", "it is so", "None"])
def test_sentences_survive_the_reader_of_be_great(name):
    """Oracle: be-great's own writer and reader, and `urllib.parse.unquote`."""
    from urllib.parse import unquote

    from be_great.great_utils import _convert_text_to_tabular_data, _encode_row_partial

    for text in TEXTS:
        row = pd.Series({escape("other"): escape("x"), escape(name): escape(text)})
        for order in (True, False):
            (read,) = _convert_text_to_tabular_data([_encode_row_partial(row, shuffle=order)], list(row.index)).to_dict(
                "records"
            )
            assert {unquote(key): unquote(value) for key, value in read.items()} == {"other": "x", name: text}
    assert [escape(text) for text in ("plain", "12.50", "is", "Noneone")] == ["plain", "12.50", "is", "Noneone"]


def test_rows_are_collected_until_there_are_enough(mixed):
    """Oracle: counts by hand."""
    frame = mixed[["count", "label"]]
    schema = infer_schema(frame, target="label")
    bar = tqdm(total=2, disable=None)
    good, bad = {"count": "3", "label": "yes"}, {"count": "3.5", "label": "yes"}
    table, counts = collect_rows(iter([[good, bad, {"count": "3"}], [good, good]]), schema, 2, 10, bar)
    assert table.to_dict("list") == {"count": [3, 3], "label": ["yes", "yes"]}
    assert counts == {"tried": 4, "kept": 2, "refused": {"too many decimal places": 1, "missing column": 1}}
    with pytest.raises(SamplingFailed, match="2 rows were asked for, but of 4 tried 0 obey"):
        collect_rows(iter([[bad, bad], [bad, bad], [good, good]]), schema, 2, 2, bar)


def test_moments_are_rounded_to_what_their_form_shows(mixed):
    """Oracle: the calendar: a second before midnight is the next day where the form has no hour."""
    column = schema_of(mixed)["day"]
    midnight = pd.Timestamp("2024-03-02").timestamp()
    assert column.from_numbers(np.array([midnight - 1, midnight + 1, np.nan]))[:2].tolist() == ["02.03.2024"] * 2
    assert column.from_numbers(np.array([np.nan, np.nan])).isna().all()


def test_realtabformer_still_passes_an_argument_that_is_gone(tmp_path):
    """Oracle: the package and transformers: where this fails, `baselines.realtabformer.GONE` is needed no longer."""
    from realtabformer import REaLTabFormer
    from transformers import TrainingArguments

    from baselines.realtabformer import GONE

    package = REaLTabFormer(model_type="tabular", checkpoints_dir=str(tmp_path))
    assert GONE in package.training_args_kwargs
    assert GONE not in inspect.signature(TrainingArguments).parameters
    with pytest.raises(TypeError):
        json.dumps({"full_save_dir": package.full_save_dir})  # a path, which its `save` writes as JSON


def test_sdv_still_seeds_itself_with_a_constant(mixed):
    """Oracle: SDV: two objects under different seeds draw the same rows, so that the adapter's seed is needed."""
    from baselines.sdv import TABLE, GaussianCopula

    drawn = [GaussianCopula().fit(mixed, seed=seed).synthesizer.sample(20)[TABLE] for seed in (1, 2)]
    pd.testing.assert_frame_equal(*drawn)
