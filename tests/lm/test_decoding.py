"""How rows are written. Oracles: probabilities by hand, exact distributions by enumeration, one row at a time."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from test_segments import sentence_piece

from harmonic.codec import QUOTE, RowCodec
from harmonic.datasets import load_dataset
from harmonic.errors import BadInput
from harmonic.lm import decoding
from harmonic.lm.decoding import STEP_COST, Decoding, Limits, Prompt, Writer
from harmonic.lm.grammar import Grammar
from harmonic.lm.reader import Reader
from harmonic.lm.sampler import sample_rows
from harmonic.lm.segments import SegmentEncoder
from harmonic.table import schema_of
from harmonic.table.schema import Column, Schema
from harmonic.training import Compute

CPU = Compute("cpu", "32-true")
LIMITS = Limits(row=24, value=6)
N = Column("n", "integer", "int64", low=7, high=12)
Y = Column("y", "category", "str", categories=("no", "yes"))
TOY = RowCodec(Schema((N, Y), "y", "binary"))


@pytest.fixture
def biased(tiny_model, easy_encoder):
    """A model that writes a few digits, "no", "yes" and quotes for the most part, each text as likely as its weights say."""
    model = tiny_model("llama", len(easy_encoder.tokenizer))
    bias = torch.full((len(easy_encoder.tokenizer),), -6.0)
    bias[easy_encoder.encode(list("1789"))] = 5.0
    bias[easy_encoder.encode(["no", "yes"])] = 6.0
    bias[easy_encoder.encode([QUOTE])] = 7.0
    forward = model.forward

    def shifted(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.logits = 2 * output.logits + bias
        return output

    model.forward = shifted
    return model


def prompts(codec, order=(0, 1)):
    keys = [codec.key(place, first=rank == 0) for rank, place in enumerate(order)]
    return lambda number: Prompt(["Human: \n"], keys, list(order))


def draw(model, encoder, codec, n, limits=LIMITS, seed=0, ask=None, read=None, implied=None, **settings):
    chosen = Decoding(**settings)
    grammar = Grammar.compile(codec, encoder) if chosen.form == "valid" else None
    writer = Writer(model, encoder, limits, chosen, CPU.device, seed, grammar, implied or {})
    return sample_rows(writer, ask or prompts(codec), read or codec.read, n, compute=CPU)


def chances(model, encoder, codec, prompt):
    """The model's own probability of every text of a row, by every cut into tokens of every pair of values."""
    cuts = {}
    quote = encoder.encode([QUOTE])
    texts = {token: encoder.decode([token]) for token in range(3, len(encoder.tokenizer))}
    for values in itertools.product(map(str, range(7, 13)), Y.categories):
        options = [
            [
                cut
                for size in (1, 2, 3)
                for cut in itertools.product([token for token, text in texts.items() if text and text in value], repeat=size)
                if "".join(texts[token] for token in cut) == value
            ]
            for value in values
        ]
        total = 0.0
        for cut in itertools.product(*options):
            ids = encoder.encode(prompt.text)
            drawn = []
            for key, value in zip(prompt.keys, cut, strict=True):
                ids += encoder.encode([key])
                for token in [*value, *quote]:
                    drawn.append((len(ids), token))
                    ids.append(token)
            with torch.inference_mode():
                shares = model(input_ids=torch.tensor([ids])).logits[0].double().softmax(-1)
            total += float(np.prod([float(shares[place - 1, token]) for place, token in drawn]))
        cuts[values] = total
    return cuts


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"temperature": 1.0}, [0.5, 0.3, 0.2]),
        ({"temperature": 0.5}, [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]),
        ({"top_k": 2}, [0.625, 0.375, 0.0]),
        ({"top_p": 0.6}, [0.625, 0.375, 0.0]),
        ({"top_p": 0.4}, [1.0, 0.0, 0.0]),
    ],
)
def test_probabilities_by_hand(settings, expected):
    """Oracle: by hand, of three tokens at .5, .3 and .2."""
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    assert Decoding(**settings).warpers()(None, logits).softmax(-1)[0].tolist() == pytest.approx(expected)


def test_exact_rows_are_the_models_own_valid_rows(biased, easy_encoder):
    """Oracle: the model's probability of every valid row, by enumeration of all cuts; masks alone give another."""
    expected = chances(biased, easy_encoder, TOY, prompts(TOY)(0))
    mass = sum(expected.values())
    assert 0.005 < mass < 0.5
    result = draw(biased, easy_encoder, TOY, 400, exact=True, max_tries=1000, batch_size=256)
    found = Counter((str(row["n"]), row["y"]) for row in result.rows)
    counts = [found[values] for values in expected]
    assert chisquare(counts, np.array(list(expected.values())) / mass * 400).pvalue > 0.001
    assert len(result.rows) / result.tried == pytest.approx(mass, rel=0.25)
    masked = draw(biased, easy_encoder, TOY, 3000, batch_size=256)
    assert masked.tried == 3000
    counts = Counter((str(row["n"]), row["y"]) for row in masked.rows)
    assert chisquare([counts[v] for v in expected], np.array(list(expected.values())) / mass * 3000).pvalue < 1e-6


def test_the_masks_know_how_valid_the_model_is_without_them(biased, easy_encoder):
    """Oracle: the share of readable rows that the same model writes without masks, within five standard errors."""
    masked = draw(biased, easy_encoder, TOY, 2000, batch_size=256)
    told = masked.by_column(["n", "y"])
    row = float(np.prod(np.array(masked.left), axis=1).mean())
    free = draw(biased, easy_encoder, TOY, 4000, form="given", read=lambda text: {"text": text}, batch_size=256)

    def valid(text):
        try:
            TOY.read(text)
        except ValueError:
            return False
        return True

    share = np.mean([valid(row["text"]) for row in free.rows])
    assert row == pytest.approx(share, abs=5 * np.sqrt(share / 4000) + 0.01)
    assert all(0 < figures["validity_before"] < 1 for figures in told.values())
    assert all(figures["mass_removed"] == 1 - figures["validity_before"] for figures in told.values())
    assert all(figures["validity_after"] == 1 for figures in told.values())
    assert free.by_column(["n", "y"]) == {}


@pytest.mark.parametrize("form", ["valid", "given"])
def test_the_batch_size_changes_nothing(biased, easy_encoder, easy_codec, easy_instructions, form):
    """Oracle: the rows one at a time, in float32; prompts of many lengths, columns in many orders."""

    def ask(number):
        order = easy_codec.order(np.random.default_rng(number))
        keys = [easy_codec.key(place, first=rank == 0) for rank, place in enumerate(order)]
        return Prompt(easy_instructions[number % len(easy_instructions)].prompt, keys, order)

    texts = [
        [row["text"] for row in draw(biased, easy_encoder, easy_codec, 24, ask=ask, read=lambda text: {"text": text},
                                     form=form, batch_size=size, seed=5).rows]
        for size in (1, 5, 24)
    ]  # fmt: skip
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts[0])) > 20


def encoders(table):
    from harmonic.codec import frequent_segments
    from harmonic.lm.load import table_tokenizer

    codec = RowCodec(schema_of(table))
    values = (text for row in codec.cells(table) for text in row)
    pieces = sentence_piece(metaspace=False)
    pieces.pad_token = pieces.eos_token
    return codec, {"llama": table_tokenizer(values, frequent_segments(codec, 2), 300), "gpt2": pieces}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", ["affairs", "breast_cancer", "placements", "progression", "wine"])
def test_a_model_that_learnt_nothing_writes_valid_rows(tiny_model, family, name):
    """Oracle: the codec's strict reader: every try is a row, with a SentencePiece vocabulary too."""
    check_valid(tiny_model, family, load_dataset(name).train)


@pytest.mark.paper_data
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", ["adult", "buddy", "diabetes", "german"])
def test_a_model_that_learnt_nothing_writes_valid_rows_of_the_papers_tables(paper_data_dir, tiny_model, family, name):
    """Oracle: the same."""
    check_valid(tiny_model, family, load_dataset(name).train)


def check_valid(tiny_model, family, table):
    codec, tokenizers = encoders(table.head(50))
    codec = RowCodec(schema_of(table))
    encoder = SegmentEncoder(tokenizers[family])
    model = tiny_model(family, len(encoder.tokenizer))
    order = tuple(reversed(range(len(codec.schema.columns))))
    result = draw(model, encoder, codec, 12, limits=Limits(0, 8), ask=prompts(codec, order), batch_size=12)
    assert (result.tried, len(result.rows)) == (12, 12)


def test_a_pass_reads_as_much_as_is_worth_while(monkeypatch, biased, easy_encoder):
    """Oracle: by hand, at a cost of two tokens a pass: narrow chunks wait for no wide one, unless few are narrow."""
    from harmonic.lm.decoding import _Values

    assert STEP_COST["cpu"] == 2
    writer = Writer(biased, easy_encoder, LIMITS, Decoding("given"), CPU.device, 0)
    values = _Values(writer, [prompts(TOY)(0)] * 4, range(4))
    for lengths, width in (([1, 1, 1, 9], 1), ([1, 9, 9, 9], 9), ([2, 2, 2, 1], 2), ([0, 0, 0, 7], 7), ([0, 1, 1, 1], 1)):
        values.pending = [[5] * length for length in lengths]
        assert values._width() == width


def test_exactness_needs_the_whole_distribution():
    """Oracle: the option's own rule."""
    for settings in ({"form": "given"}, {"top_k": 5}, {"top_p": 0.9}):
        with pytest.raises(BadInput, match="exact needs form=valid"):
            Decoding(exact=True, **settings)


def test_tokens_without_a_choice_cost_no_pass(monkeypatch, biased, easy_encoder, easy_codec):
    """Oracle: the same rows, and the same probability left to each value, when every token is drawn; in more passes.

    And when passes are cut short, so that few probabilities are computed in each.
    """
    feed, passes = Reader.feed, []
    monkeypatch.setattr(Reader, "feed", lambda *args, **kwargs: passes.append(1) or feed(*args, **kwargs))
    order = tuple(range(len(easy_codec.schema.columns)))
    runs = []
    for most, spelled_out in ((128, False), (1, False), (128, True)):
        monkeypatch.setattr(decoding, "MOST_LOGITS", most)
        if spelled_out:
            monkeypatch.setattr(Grammar, "only", lambda grammar, state: None)
        passes.clear()
        result = draw(biased, easy_encoder, easy_codec, 40, ask=prompts(easy_codec, order), batch_size=40)
        runs.append((result.rows, result.new_tokens, result.left, len(passes)))
    for rows, tokens, left, _ in runs[1:]:
        assert (rows, tokens) == runs[0][:2]
        np.testing.assert_allclose(left, runs[0][2], rtol=1e-4)
    assert runs[0][3] < 0.8 * runs[2][3]


def test_a_value_that_implies_another_leaves_it_no_choice(biased, easy_encoder):
    """Oracle: the model's probability of every row that does not contradict the rule, by enumeration."""
    implied = {(0, "7"): {1: "no"}, (0, "10"): {1: "yes"}}
    expected = {
        (n, y): share
        for (n, y), share in chances(biased, easy_encoder, TOY, prompts(TOY)(0)).items()
        if implied.get((0, n), {1: y}) == {1: y}
    }
    mass = sum(expected.values())
    result = draw(biased, easy_encoder, TOY, 400, exact=True, max_tries=1000, batch_size=256, implied=implied)
    found = Counter((str(row["n"]), row["y"]) for row in result.rows)
    assert found.keys() <= expected.keys()
    assert chisquare([found[values] for values in expected], np.array(list(expected.values())) / mass * 400).pvalue > 0.001
    assert len(result.rows) / result.tried == pytest.approx(mass, rel=0.25)


def test_what_is_given_is_not_overruled(biased, easy_encoder):
    """Oracle: the condition, which the rule contradicts; and the rule, where it speaks of the cell that is drawn."""
    implied = {(0, "7"): {1: "no"}}
    for given in ({0: "7", 1: "yes"}, {0: "7"}):
        ask = lambda number, given=given: replace(prompts(TOY)(number), given=given)  # noqa: E731
        rows = draw(biased, easy_encoder, TOY, 20, ask=ask, implied=implied).rows
        assert {(row["n"], row["y"]) for row in rows} == {(7, given.get(1, "no"))}


def test_a_row_of_hundreds_of_given_cells_is_written(biased, easy_encoder):
    """Oracle: the cells that were given; Python's limit is a thousand calls within each other."""
    biased.config.max_position_embeddings = 10_000
    keys = [TOY.key(0, first=False)] * 700
    ask = lambda number: Prompt(["Human: \n"], keys, list(range(700)), dict.fromkeys(range(699), "7"))  # noqa: E731
    (row,) = draw(biased, easy_encoder, TOY, 1, ask=ask, read=lambda text: {"text": text}, form="given").rows
    assert row["text"].startswith(f"{keys[0]}7{QUOTE}" * 699 + keys[0])
