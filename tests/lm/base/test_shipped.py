"""The shipped model. Oracles: plain Hugging Face loaders, the recipe in the code, and simple guesses that it must beat."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harmonic.codec import frequent_segments
from harmonic.datasets import load_dataset
from harmonic.lm.base import FOLDER
from harmonic.lm.base.documents import Reader
from harmonic.lm.base.pretrain import Recipe, make_batch, make_tokenizer, split_loss, split_sums, token_losses
from harmonic.lm.load import BASE, save
from harmonic.lm.vocabulary import free_slots
from harmonic.method import Harmonic
from harmonic.method.sampling import Sampling
from harmonic.metrics.yardsticks import yardsticks
from harmonic.report.card import model_card
from harmonic.table import coerce

EVALUATIONS = Path(__file__).parents[3] / "results" / "base"
PAPER = ("adult", "buddy", "diabetes", "german")
COPY_IS_BETTER = {
    "german": "copying, fitted on validation rows, knows each column's categories and how far to trust five rows",
    "buddy": "copying knows that minutes since 1970 have eight digits; the base model knows seconds, which have ten",
}
"""Tables on which copying beats the base model without masks, and what it knows that they would tell the model."""


@pytest.fixture(scope="module")
def training():
    return json.loads((FOLDER / "training.json").read_text())


@pytest.fixture(scope="module")
def evaluations():
    return {file.stem: json.loads(file.read_text()) for file in sorted(EVALUATIONS.glob("*.json"))}


def test_it_is_plain_hugging_face(training):
    """Oracle: the automatic loaders, the size that was promised, and safetensors alone."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    assert model.config.model_type == "llama"
    assert len(tokenizer) == model.config.vocab_size
    assert len(free_slots(tokenizer)) == Recipe().slots
    assert sum(parameter.numel() for parameter in model.parameters()) == training["parameters"]
    files = [file for file in FOLDER.iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 32e6
    assert {file.suffix for file in files} == {".json", ".safetensors", ".md"}


def test_its_recipe_is_the_codes(training):
    """Oracle: the default recipe, and the tokenizer it makes: the documented command trains this model, not another."""
    assert training["recipe"] == json.loads(json.dumps(asdict(Recipe())))
    assert training["tokens"] == Recipe().tokens
    made = json.loads(make_tokenizer(Recipe()).backend_tokenizer.to_str())
    assert json.loads((FOLDER / "tokenizer.json").read_text())["model"] == made["model"]


def test_it_reads_its_context():
    """Oracle: unseen tables: what stood in an earlier row costs next to nothing for keys, far less for categories."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    batch = make_batch(Reader(tokenizer), Recipe(), Recipe().steps - 1, "held out")
    with torch.inference_mode():
        split = split_loss(split_sums(token_losses(model, batch), batch))
    assert split["key_later"] < 0.2 < 1 < split["key_first"]
    assert split["category_later"] < split["category_first"] - 1.5
    assert split["number_later"] < split["number_first"] - 0.5


def test_binding_changes_names_and_nothing_else(easy_codec, easy_table, tmp_path):
    """Oracle: the model as shipped: the same ids give the same logits, less those of slots that were left over."""
    segments = frequent_segments(easy_codec, 5)
    values = [text for row in easy_codec.cells(easy_table) for text in row]
    model, tokenizer = BASE.create(values, segments, 0)
    whole = AutoModelForCausalLM.from_pretrained(FOLDER)
    assert len(tokenizer) == model.config.vocab_size < whole.config.vocab_size
    assert all(len(tokenizer(segment, add_special_tokens=False)["input_ids"]) == 1 for segment in segments)
    ids = torch.tensor([tokenizer("".join(segments), add_special_tokens=False)["input_ids"]])
    assert ids.shape[1] == len(segments)
    with torch.inference_mode():
        found, wanted = model(input_ids=ids).logits, whole(input_ids=ids).logits
    torch.testing.assert_close(found, wanted[..., : len(tokenizer)])
    save(model, tokenizer, tmp_path)
    restored, words = BASE.restore(tmp_path)
    assert words("".join(segments), add_special_tokens=False)["input_ids"] == ids[0].tolist()
    with torch.inference_mode():
        assert torch.equal(restored(input_ids=ids).logits, found)


def bits(name, rows=60):
    """Bits of each cell of test rows, unseen by anything, without and under masks; means of two yardsticks."""
    split = load_dataset(name)
    test = np.arange(min(rows, len(split.test)))
    val = np.arange(min(400, len(split.val)))
    harmonic = Harmonic(examples="neighbours").start(split.train, 0)
    scored = split.test.iloc[test].reset_index(drop=True)
    examples = [harmonic.nearest_train_rows(table) for table in (split.val.iloc[val].reset_index(drop=True), scored)]
    guesses = yardsticks(harmonic.rewriting.write_split(split), *examples, val, test)
    free, under = (-harmonic.log_likelihood(scored, seed=0, masks=masks) / np.log(2) for masks in (False, True))
    held = np.isfinite(under)  # masks forbid what lies beyond train's domain
    assert held.mean() > 0.99
    return free, np.where(held, under, free), guesses.marginal.mean(), guesses.copy.mean()


@pytest.mark.paper_data
@pytest.mark.parametrize("name", PAPER)
def test_zero_shot_beats_the_yardsticks(paper_data_dir, name):
    """Oracle: the column's marginal and a random example's value, both fitted on validation rows."""
    free, under, marginal, copy = bits(name)
    assert under.mean() < min(free.mean(), marginal, copy)
    assert free.mean() < marginal
    assert free.mean() < copy or name in COPY_IS_BETTER


@pytest.mark.parametrize(
    "name",
    [
        *("affairs", "breast_cancer", "placements", "progression", "wine"),
        *(pytest.param(name, marks=pytest.mark.paper_data) for name in PAPER),
    ],
)
def test_under_masks_every_row_is_valid_at_the_first_try(request, name):
    """Oracle: the schema, and the count of tries."""
    if name in PAPER:
        request.getfixturevalue("paper_data_dir")
    split = load_dataset(name)
    harmonic = Harmonic(sampling=Sampling("neighbours", keep=None)).start(split.train, 0)
    rows = harmonic.sample(24, seed=0)
    pd.testing.assert_frame_equal(coerce(rows, split.schema, "rows"), rows)
    assert harmonic.report["generation"]["tried"] == len(rows) == 24


@pytest.mark.parametrize("name", PAPER)
def test_the_committed_evaluation(evaluations, name):
    """Oracle: these very weights; fewer bits than either guess, fewer still after fine-tuning, rows that obey."""
    found = evaluations[name]
    weights = hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest()
    assert found["digests"]["model.safetensors"] == weights
    cells = found["bits_per_cell"]
    assert cells["zero-shot, masks"] < min(cells["marginal"], cells["copy"])
    assert cells["zero-shot, k = 5"] < cells["marginal"]
    assert cells["fine-tuned"] < min(cells["zero-shot, k = 5"], cells["copy or marginal"])
    assert cells["fine-tuned, masks"] < min(cells["zero-shot, masks"], cells["fine-tuned"])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.xfail(reason=COPY_IS_BETTER[name], strict=True) if name in COPY_IS_BETTER else ()
        )
        for name in PAPER
    ],
)
def test_zero_shot_beats_copying_without_masks(evaluations, name):
    """Oracle: the bound that was set for the base model, without the help of masks; where it is missed, this says so."""
    cells = evaluations[name]["bits_per_cell"]
    assert cells["zero-shot, k = 5"] < cells["copy"]


@pytest.mark.parametrize("name", PAPER)
def test_free_rows_are_valid(evaluations, name):
    """Oracle: the bound that was set: 97 % of rows written freely after fine-tuning."""
    assert evaluations[name]["validity"]["fine-tuned"] >= 0.97


def test_the_card_is_made_from_them(training, evaluations):
    """Oracle: the card regenerated; its figures stand nowhere by hand."""
    card = FOLDER / "README.md"
    size_mb = sum(file.stat().st_size for file in FOLDER.iterdir() if file != card) / 1e6
    assert card.read_text() == model_card(training, list(evaluations.values()), size_mb)
    assert f"{evaluations['german']['bits_per_cell']['zero-shot, k = 5']:.3f}" in card.read_text()
