"""Segments to token ids. Oracles: the text itself, and that a segment's ids do not hang on its neighbours."""

import itertools
import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from harmonic.codec import QUOTE, RowCodec, frequent_segments, instruction, wrap
from harmonic.lm.load import table_tokenizer
from harmonic.lm.segments import SegmentEncoder, pad_left, pad_right

VALUES = ["12.50", "n", "A, b", "two  spaces", "", "2024-01-31", "New York", "the colour"]
NASTY = [
    *VALUES,
    " led",
    "trailed ",
    "\n",
    "\n\nx",
    "\tx",
    "  ",
    "café",
    "☕🎈",
    "\u2028",
    r"\"",
    "}",
    "{",
    "\u0301",
    "▁",
    "<0x41>",
]
CORPUS = [
    'Here are 5 tabular data about clients, each containing: {"size": "10", "rate": "4.5"}',
    "the quick brown fox jumps over the lazy dog. Human: Assistant: Example one: Generate one sample:",
    *VALUES,
] * 4
SPECIAL = ["<s>", "</s>", "<unk>"]


def byte_level():
    """GPT-2's kind: bytes as letters, its own word pattern."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>")


def sentence_piece(metaspace):
    """Llama 2's kind: a space before every text, unknown letters as bytes; in its two spellings."""
    trained = Tokenizer(models.BPE())
    if metaspace:
        trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False)
    else:
        trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    trained.train_from_iterator([line.replace("☕", "") for line in CORPUS], trainer)
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    vocabulary = trained.get_vocab()
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = trained.normalizer, trained.pre_tokenizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", bos_token="<s>")


BUILDERS = {
    "scratch": lambda: table_tokenizer(VALUES, ['{"size": "', ', "rate": "', QUOTE, "}"], 400),
    "byte_level": byte_level,
    "sentence_piece": lambda: sentence_piece(metaspace=False),
    "metaspace": lambda: sentence_piece(metaspace=True),
}
SENTENCE_PIECE = ("sentence_piece", "metaspace")


@pytest.fixture(scope="module", params=BUILDERS)
def named(request):
    return request.param, SegmentEncoder(BUILDERS[request.param]())


@pytest.fixture(scope="module")
def scratch(easy_schema, easy_table):
    codec = RowCodec(easy_schema)
    fixed = frequent_segments(codec, 5)
    return codec, fixed, SegmentEncoder(table_tokenizer((t for row in codec.cells(easy_table) for t in row), fixed, 300))


def test_only_a_sentence_piece_tokenizer_needs_the_line_feed(named):
    """Oracle: the tokenizer's own prefixing; without it this test of prefixed spaces would test nothing."""
    name, encoder = named
    assert bool(encoder.prefix) == (name in SENTENCE_PIECE)
    plain = encoder.tokenizer("ab", add_special_tokens=False)["input_ids"]
    assert encoder.tokenizer.convert_ids_to_tokens(plain)[0].startswith("▁") == (name in SENTENCE_PIECE)


def test_decoding_gives_the_text_back(named):
    """Oracle: the text; no space strays in, whatever stands beside a segment."""
    name, encoder = named
    # "▁" is how a SentencePiece tokenizer spells a space: there it cannot be told apart.
    values = [value for value in NASTY if name not in SENTENCE_PIECE or value != "▁"]
    for first, second in itertools.product(values, values):
        segments = ['{"size": "', first, QUOTE, ', "rate": "', second, QUOTE, "}"]
        assert encoder.decode_value(encoder.encode(segments)) == "".join(segments)


@pytest.mark.parametrize("value", ["<eos>", "<pad>", "</s>", "a</s>b"])
def test_a_value_that_spells_a_special_token_stays_text(named, value):
    """Oracle: the text. Else a cell could end a row, and would come back empty."""
    _, encoder = named
    assert encoder.tokenizer.eos_token_id not in encoder.encode([value])
    assert encoder.decode_value(encoder.encode(['"', value, '"'])) == f'"{value}"'


def test_the_ids_of_a_segment_do_not_hang_on_its_neighbours(named):
    """Oracle: each segment encoded alone, by an encoder that has seen nothing else."""
    _, encoder = named
    fresh = {value: SegmentEncoder(encoder.tokenizer).encode([value]) for value in NASTY}
    for first, second in itertools.product(NASTY, NASTY):
        assert encoder.encode([first, second]) == fresh[first] + fresh[second]


def test_the_quote_is_one_token(named):
    """Oracle: the sampler's need; it takes this token for the end of a value."""
    assert len(named[1].encode([QUOTE])) == 1


def test_a_leading_space_of_a_value_survives(named):
    """Oracle: the text; SentencePiece's decoder strips one space from the front of what it decodes."""
    _, encoder = named
    for value in (" a", "  a", "a", " "):
        assert encoder.decode_value(encoder.encode([value])) == value


def test_scratch_holds_each_fixed_text_as_one_token(scratch, easy_table):
    """Oracle: the promise of `table_tokenizer`; and with it, an instruction's length is a sum that can be done by hand."""
    codec, fixed, encoder = scratch
    ids = [encoder.encode([segment]) for segment in fixed]
    assert all(len(one) == 1 for one in ids)
    assert len({one[0] for one in ids}) == len(set(fixed))
    rows = [codec.row(cells) for cells in codec.cells(easy_table)[:5]]
    values = sum(len(encoder.encode([cell])) for cells in codec.cells(easy_table)[:5] for cell in cells)
    columns = len(codec.schema.columns)
    # Human, introduction, per example its head, a key and a quote per column and a close, generate, Assistant.
    assert len(encoder.encode(wrap(instruction(codec.schema, rows)))) == 4 + 5 * (2 + 2 * columns) + values


def test_scratch_writes_digits_one_by_one(scratch):
    """Oracle: the promise of `Scratch`, so that numbers it has not seen are spelt as those it has."""
    _, _, encoder = scratch
    assert [encoder.decode([one]) for one in encoder.encode(["-1024.50"])] == list("-1024.50")


def test_scratch_knows_every_byte(scratch):
    """Oracle: all one- and two-byte characters, and some of three and four, come back."""
    _, _, encoder = scratch
    text = "".join(map(chr, [*range(0x800), 0x2603, 0x4E2D, 0x1F388]))
    assert encoder.decode_value(encoder.encode([text])) == text


def test_padding_by_hand():
    """Oracle: by hand."""
    ids, mask = pad_left([[5], [6, 7, 8], []], pad=0)
    assert ids.tolist() == [[0, 0, 5], [6, 7, 8], [0, 0, 0]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1], [0, 0, 0]]
    assert pad_right([[5], [6, 7, 8], []], pad=0).tolist() == [[5, 0, 0], [6, 7, 8], [0, 0, 0]]
