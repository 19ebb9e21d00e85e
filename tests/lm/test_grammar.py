"""Token automata. Oracles: the pattern itself on every cut of a text, and each tokenizer's own decoder."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
import torch
from test_segments import BUILDERS, SENTENCE_PIECE
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from harmonic.codec import QUOTE, RowCodec
from harmonic.datasets import load_dataset
from harmonic.errors import BadInput
from harmonic.lm.base.prior import Ranges, draw_table
from harmonic.lm.grammar import DONE, FAR, Grammar, token_bytes
from harmonic.lm.patterns import value_pattern
from harmonic.lm.segments import SegmentEncoder
from harmonic.table import schema_of
from harmonic.table.schema import Column, Schema

BUNDLED = ("affairs", "breast_cancer", "placements", "progression", "wine")
COLUMNS = (
    Column("n", "integer", "int64", low=7, high=12),
    Column("d", "decimal", "float64", places=1, low=-1.5, high=10.2, nullable=True),
    Column("c", "category", "str", categories=("yes", "yes, ü", "no")),
    Column("t", "text", "str"),
)
SCHEMA = Schema(COLUMNS, "c", "multiclass")


@pytest.fixture(scope="module", params=BUILDERS)
def encoder(request):
    encoder = SegmentEncoder(BUILDERS[request.param]())
    encoder.kind = request.param
    return encoder


@pytest.fixture(scope="module")
def grammar(encoder):
    return Grammar.compile(RowCodec(SCHEMA), encoder)


def accepts(grammar, state, tokens):
    return grammar.path(state, tokens) is not None


def test_tokens_stand_for_what_the_decoder_makes_of_them(encoder):
    """Oracle: the tokenizer's own decoder, on every token that is a text of its own."""
    texts = token_bytes(encoder.tokenizer)
    assert len(texts) == len(encoder.tokenizer)
    known = 0
    for token, text in enumerate(texts):
        if token in encoder.tokenizer.all_special_ids:
            assert text == b""
            continue
        written = encoder.decode_value([*encoder.encode(["x"]), token])[1:]
        if "\ufffd" not in written:
            assert text.decode() == written
            known += 1
    assert known > 100


def test_every_cut_of_a_valid_text_is_allowed(encoder, grammar):
    """Oracle: the pattern; all sequences of up to three digit-like tokens and a quote, cut in any way the vocabulary has.

    Bytes that stand for what has a token of its own are left out: nobody writes with them.
    """
    quote = encoder.encode([QUOTE])[0]
    texts = token_bytes(encoder.tokenizer)
    pieces = [token for token, text in enumerate(texts) if text and re.fullmatch(rb"[-0-9.]{1,3}", text)]
    pieces = [t for t in pieces if texts.count(texts[t]) == 1 or encoder.encode([texts[t].decode()]) == [t]]
    allowed = re.compile(value_pattern(RowCodec(SCHEMA), COLUMNS[1]))
    tried = 0
    for length in range(4):
        for tokens in itertools.product(pieces, repeat=length):
            text = b"".join(texts[token] for token in tokens).decode()
            assert accepts(grammar, grammar.starts[1], [*tokens, quote]) == bool(allowed.fullmatch(text)), text
            tried += bool(allowed.fullmatch(text))
    assert tried > 100


def test_restricting_leaves_exactly_what_goes_on(encoder, grammar):
    """Oracle: the transitions, read one by one; rows in different states, logits elsewhere untouched."""
    states = np.array([*grammar.starts, grammar.starts[0]])
    logits = torch.randn(len(states), len(encoder.tokenizer))
    restricted = grammar.restrict(logits, states, np.full(len(states), 100))
    for row, state in enumerate(states):
        allowed = grammar.tokens[grammar.bounds[state] : grammar.bounds[state + 1]]
        assert torch.equal(restricted[row, allowed], logits[row, allowed])
        assert int(restricted[row].isfinite().sum()) == len(allowed)
    first = set(np.array(token_bytes(encoder.tokenizer), dtype=object)[restricted[0].isfinite().numpy()])
    assert {b"7", b"8", b"9", b"1"} <= first
    assert not first & {b"0", b"2", b"", b"-"}


@pytest.mark.parametrize("budget", [2, 3, 6, 30])
def test_a_text_without_end_ends_within_its_budget(encoder, grammar, budget):
    """Oracle: counting: a walk by random tokens of those left ends in so many, from inside an escape too."""
    rng = np.random.default_rng(budget)
    vocabulary = len(encoder.tokenizer)
    backslash = [token for token, text in enumerate(token_bytes(encoder.tokenizer)) if text == b"\\"]
    for walk in range(60):
        state, taken = np.array([grammar.starts[3]]), 0
        while state[0] != DONE:
            left = grammar.restrict(torch.zeros(1, vocabulary), state, np.array([budget - taken]))[0].isfinite().numpy()
            options = np.flatnonzero(left)
            wanted = [token for token in backslash if left[token]] if walk % 2 and not taken else []
            state = grammar.advance(state, np.array([wanted[0] if wanted else rng.choice(options)]))
            taken += 1
        assert taken <= budget


def test_no_state_is_a_dead_end(grammar):
    """Oracle: distances by search from every state that a start leads to."""
    reached, waiting = set(), list(grammar.starts)
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            targets = grammar.targets[grammar.bounds[state] : grammar.bounds[state + 1]]
            waiting += [int(target) for target in targets if grammar.distances[target] < FAR]
    assert DONE in reached
    assert all(grammar.distances[state] < FAR for state in reached)


def accepted(table, encoder):
    codec = RowCodec(schema_of(table))
    grammar = Grammar.compile(codec, encoder)
    for cells in codec.cells(table):
        for start, text in zip(grammar.starts, cells, strict=True):
            assert accepts(grammar, start, encoder.encode([text, QUOTE])), text


@pytest.mark.parametrize("name", BUNDLED)
def test_every_cell_of_a_real_table_is_accepted(encoder, name):
    """Oracle: the table: what the codec writes and the tokenizer cuts, the grammar takes."""
    accepted(load_dataset(name).train.head(300), encoder)


@pytest.mark.paper_data
@pytest.mark.parametrize("name", ["adult", "buddy", "diabetes", "german"])
def test_every_cell_of_the_papers_tables_is_accepted(paper_data_dir, encoder, name):
    """Oracle: the same."""
    accepted(load_dataset(name).train.head(300), encoder)


def test_every_cell_of_a_random_table_is_accepted(encoder):
    """Oracle: the same, on tables of every kind of column: dates in five formats, identifiers, holes, skewed decimals."""
    for seed in range(25):
        accepted(draw_table(np.random.default_rng(seed), Ranges(rows=(48, 80))), encoder)


def test_what_a_tokenizer_cannot_write_is_told():
    """Oracle: a vocabulary without an umlaut and without bytes, and one of an unknown kind."""
    vocabulary = {"<unk>": 0, "</s>": 1, '"': 2, "▁": 3, "a": 4, "b": 5, "\n": 6}
    from tokenizers import decoders, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    small = SegmentEncoder(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>"))
    schema = Schema((Column("c", "category", "str", categories=("a", "bü")),), "c", "binary")
    with pytest.raises(BadInput, match="cannot write 'bü' of column 'c'"):
        Grammar.compile(RowCodec(schema), small)
    number = Schema((Column("n", "integer", "int64", low=1, high=9),), "n", "regression")
    with pytest.raises(BadInput, match="cannot write any value of column 'n'"):
        Grammar.compile(RowCodec(number), small)
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, '"': 1}, unk_token="a")))
    with pytest.raises(BadInput, match="byte-level and SentencePiece"):
        token_bytes(words)


def test_thousands_of_categories_and_days_compile_in_seconds(encoder):
    """Oracle: the clock, loosely; and the last of them is accepted."""
    import time

    if encoder.kind in SENTENCE_PIECE:
        pytest.skip("one kind of tokenizer is enough for a clock")
    names = tuple(sorted(f"place {number} of many" for number in range(3000)))
    low, high = (pd.Timestamp(text).timestamp() for text in ("1950-01-01", "2025-12-31"))
    day = Column("d", "datetime", "str", datetime_format="%d.%m.%Y", low=low, high=high)
    schema = Schema((Column("c", "category", "str", categories=names), day), "c", "multiclass")
    started = time.monotonic()
    grammar = Grammar.compile(RowCodec(schema), encoder)
    assert time.monotonic() - started < 60
    assert accepts(grammar, grammar.starts[0], encoder.encode([names[-1], QUOTE]))
    assert accepts(grammar, grammar.starts[1], encoder.encode(["29.02.2024", QUOTE]))
    assert not accepts(grammar, grammar.starts[1], encoder.encode(["29.02.2023", QUOTE]))


@pytest.mark.parametrize(("low", "high", "places"), [(1000, 5e9, 0), (0, 10**15, 0), (-0.05, 98_765_432.1, 2), (0, 1e6, 10)])
def test_numbers_of_many_lengths_compile_at_once(encoder, low, high, places):
    """Oracle: the clock, loosely: what a number may begin with is no beginning again; both ends are accepted, no more."""
    import time

    kind = "decimal" if places else "integer"
    column = Column("n", kind, "float64", low=low, high=high, places=places)
    codec = RowCodec(Schema((column,), "n", "regression"))
    started = time.monotonic()
    grammar = Grammar.compile(codec, encoder)
    assert time.monotonic() - started < 10

    def is_held(number):
        return accepts(grammar, grammar.starts[0], encoder.encode([f"{number:.{places}f}", QUOTE]))

    assert is_held(low)
    assert is_held(high)
    assert not is_held(low - 1)
    assert not is_held(high + 1)


def test_texts_of_an_alphabet(encoder):
    """Oracle: the letters, those among them that mean something in an expression or in JSON, and some that are not there."""
    alphabet = "".join(sorted({*'ab01 .$[]^-\\&~|"ü'}))
    column = Column("t", "text", "str", alphabet=alphabet)
    codec = RowCodec(Schema((column,), "t", "multiclass"))
    grammar = Grammar.compile(codec, encoder)

    def is_held(text):
        return grammar.path(grammar.starts[0], encoder.encode([codec.escape(text), QUOTE])) is not None

    assert all(map(is_held, (*alphabet, alphabet, "a-b", "b.a $10", "a&&b~~0||1")))
    assert not any(map(is_held, ("", "c", "A", "a,b", "aé")))


def test_a_byte_stands_in_for_no_letter():
    """Oracle: the tokenizer, which writes a letter with its token, though its byte says the same."""
    encoder = SegmentEncoder(BUILDERS["sentence_piece"]())
    twins = [token for token, text in enumerate(token_bytes(encoder.tokenizer)) if text == b"e"]
    column = Column("code", "category", "str", categories=("e1", "e2"))
    grammar = Grammar.compile(RowCodec(Schema((column,), "code", "binary")), encoder)
    allowed = set(grammar.tokens.tolist())
    assert len(twins) == 2
    assert allowed & set(twins) == set(encoder.encode(["e"]))
    token, _ = grammar.only(grammar.starts[0])
    assert [token] == encoder.encode(["e"])
