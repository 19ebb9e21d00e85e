"""Sampling. Oracles: one forward pass over the whole text, the grammar of a row, counts that add up, repetition."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harmonic.codec import QUOTE, RowCodec, Unreadable
from harmonic.errors import SamplingFailed
from harmonic.lm import sampler
from harmonic.lm.decoding import Decoding, Limits, Prompt, Writer
from harmonic.lm.grammar import Grammar
from harmonic.lm.sampler import PATIENCE, sample_rows
from harmonic.lm.segments import SegmentEncoder
from harmonic.table.schema import Column, Schema
from harmonic.training import Compute

CPU = Compute("cpu", "32-true")
FAMILIES = ("llama", "gpt2", "qwen3")
LIMITS = Limits(row=24, value=6)


@pytest.fixture
def ask(easy_codec, easy_instructions):
    """Prompts whose columns come in another order with each number."""

    def prompt(number):
        order = easy_codec.order(np.random.default_rng(number))
        keys = [easy_codec.key(place, first=rank == 0) for rank, place in enumerate(order)]
        return Prompt(easy_instructions[number % len(easy_instructions)].prompt, keys, order)

    return prompt


@pytest.fixture
def digits(tiny_model, easy_encoder):
    """A model that writes nothing but digits and quotes; the quote is likely, and never comes first."""

    def build(family="llama"):
        model = tiny_model(family, len(easy_encoder.tokenizer))
        allowed = torch.full((len(easy_encoder.tokenizer),), -torch.inf)
        allowed[easy_encoder.encode(list("0123456789"))] = 0.0
        allowed[easy_encoder.encode([QUOTE])] = 1.0
        forward = model.forward

        def restricted(*args, **kwargs):
            output = forward(*args, **kwargs)
            output.logits = output.logits + allowed
            return output

        model.forward = restricted
        return model

    return build


@pytest.fixture
def reciting(tiny_model):
    """Makes a model that says one text, token by token, whatever it reads; `told` counts its words."""

    def build(vocabulary, script):
        model = tiny_model("llama", vocabulary)
        forward, model.told = model.forward, []

        def recite(*args, **kwargs):
            output = forward(*args, **kwargs)
            output.logits = torch.full_like(output.logits, -torch.inf)
            output.logits[:, -1, script[min(len(model.told), len(script) - 1)]] = 0.0
            model.told.append(1)
            return output

        model.forward = recite
        return model

    return build


def keep(text):
    return {"text": text}


def write(model, encoder, ask, n, read=keep, seed=0, limits=LIMITS, form="given", codec=None, where=None, **decoding):
    grammar = Grammar.compile(codec, encoder) if codec else None
    writer = Writer(model, encoder, limits, Decoding(form, **decoding), CPU.device, seed, grammar)
    return sample_rows(writer, ask, read, n, compute=CPU, **(where or {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_likeliest_rows_are_those_a_plain_search_finds(digits, easy_encoder, ask, family):
    """Oracle: each row alone, token by token, from whole forward passes; top_k=1 leaves nothing to chance."""
    model, limits = digits(family), Limits(row=0, value=3)
    texts = [row["text"] for row in write(model, easy_encoder, ask, 5, limits=limits, top_k=1, batch_size=5).rows]
    quote = easy_encoder.encode([QUOTE])[0]
    for number, text in enumerate(texts):
        prompt, expected = ask(number), ""
        ids = easy_encoder.encode(prompt.text)
        for key in prompt.keys:
            ids += easy_encoder.encode([key])
            value = []
            while len(value) < limits.value:
                with torch.inference_mode():
                    drawn = int(model(input_ids=torch.tensor([ids + value])).logits[0, -1].argmax())
                if drawn == quote:
                    break
                value.append(drawn)
            ids += [*value, quote]
            expected += key + easy_encoder.decode(value) + QUOTE
        assert text == expected + "}"


def test_each_row_is_json_with_the_keys_asked_for(digits, easy_encoder, easy_codec, ask):
    """Oracle: the standard library's JSON, and the prompts' own order of columns; values keep to their limit."""
    result = write(digits(), easy_encoder, ask, 40, batch_size=7)
    assert len(result.rows) == 40
    lengths = set()
    for number, row in enumerate(result.rows):
        pairs = json.loads(row["text"], object_pairs_hook=list)
        order = easy_codec.order(np.random.default_rng(number))
        assert [name for name, _ in pairs] == [easy_codec.schema.names[place] for place in order]
        lengths |= {len(value) for _, value in pairs}
        assert row["text"].startswith(ask(number).keys[0])
    assert lengths == set(range(LIMITS.value + 1))


@pytest.mark.parametrize("n", [1, 64, 150])
def test_counts_add_up_and_rows_are_exactly_n(digits, easy_encoder, ask, n):
    """Oracle: a count beside the reader, of one that refuses every third text for one of two reasons."""
    seen = []

    def read(text):
        seen.append(text)
        if len(seen) % 3 == 0:
            raise Unreadable("third" if len(seen) % 2 else "sixth")
        return {"text": text}

    result = write(digits(), easy_encoder, ask, n, read, batch_size=64)
    assert seen[result.tried - 1] == result.rows[-1]["text"]  # shards are read whole, but tries end with the n-th row
    del seen[result.tried :]
    assert [row["text"] for row in result.rows] == [text for place, text in enumerate(seen, 1) if place % 3]
    assert len(result.rows) == n
    assert result.numbers == [place - 1 for place in range(1, len(seen) + 1) if place % 3]
    counts = result.counts()
    assert counts["tried"] == len(seen) == counts["kept"] + sum(counts["rejected"].values())
    assert counts["rejected"].get("sixth", 0) == len(seen) // 6
    assert counts["rejected"].get("third", 0) == len(seen) // 3 - len(seen) // 6
    assert counts["validity"] == n / len(seen)
    assert counts["new_tokens"] >= 6 * n  # six columns, each with a token or more


def test_the_same_seed_writes_the_same_rows(digits, easy_encoder, ask):
    """Oracle: repetition, whatever the global random state, which is left as it was; other seeds write other rows."""
    texts = []
    for noise, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(noise)
        texts.append([row["text"] for row in write(digits(), easy_encoder, ask, 30, seed=seed, batch_size=8).rows])
        after = torch.rand(1)
        torch.manual_seed(noise)
        assert torch.equal(after, torch.rand(1))
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert len(set(texts[0])) == 30


def test_a_longer_run_starts_like_a_shorter_one(digits, easy_encoder, ask):
    """Oracle: repetition; each row draws from its own stream."""
    short, long = (write(digits(), easy_encoder, ask, n, batch_size=8).rows for n in (8, 24))
    assert short == long[:8]


@pytest.mark.parametrize("form", ["given", "free"])
def test_what_is_never_readable_fails_and_shows_what_was_written(tiny_model, easy_encoder, ask, form):
    """Oracle: the reader's own words and the texts it saw; it gives up after so many tries in vain."""
    seen = []

    def read(text):
        seen.append(text)
        raise Unreadable("never good enough")

    model = tiny_model("llama", len(easy_encoder.tokenizer))
    with pytest.raises(SamplingFailed) as error:
        write(model, easy_encoder, ask, 500, read, form=form, limits=Limits(row=8, value=2))
    message = str(error.value)
    assert len(seen) == PATIENCE
    assert f"0 of 500 rows were valid after {PATIENCE} tries" in message
    assert f"never good enough ({PATIENCE})" in message
    assert seen[0][:200].replace("\n", " ") in message
    assert "max_tries" in message


def test_tries_are_limited(digits, easy_encoder, ask):
    """Oracle: by hand: 300 rows at 2 tries each are 600 texts, of which a tenth is readable."""
    seen = []

    def read(text):
        seen.append(text)
        if len(seen) % 10:
            raise Unreadable("nine in ten")
        return {"text": text}

    with pytest.raises(SamplingFailed, match=r"60 of 300 rows were valid after 600 tries \(limit 600\)"):
        write(digits(), easy_encoder, ask, 300, read, max_tries=2.0, limits=Limits(row=0, value=1))
    assert len(seen) == 600


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_free_model_that_learnt_nothing_writes_no_rows(tiny_model, easy_encoder, easy_codec, ask, family):
    """Oracle: the codec; random weights write no JSON, and nothing runs forever."""
    model = tiny_model(family, len(easy_encoder.tokenizer))
    with pytest.raises(SamplingFailed, match="no JSON object"):
        write(model, easy_encoder, ask, 10, easy_codec.read, form="free", limits=Limits(row=8, value=2))


def test_free_text_starts_at_the_answer_and_ends_at_the_end(reciting, easy_encoder, ask):
    """Oracle: a model that says one sentence by position: the answer's tokens and the end, whatever padding precedes."""
    tokenizer = easy_encoder.tokenizer
    answer = [*easy_encoder.encode(['{"size": "', "12", QUOTE, "}"]), tokenizer.eos_token_id]
    prompts = [len(easy_encoder.encode(ask(number).text)) for number in range(6)]
    assert len(set(prompts)) > 1
    model = reciting(len(tokenizer), answer)
    result = write(model, easy_encoder, ask, 6, form="free", batch_size=6)
    assert [row["text"] for row in result.rows] == ['{"size": "12"}'] * 6
    assert len(model.told) == len(answer)  # it stops once every row has ended


def test_draws_follow_the_models_probabilities(digits, easy_encoder, ask):
    """Oracle: the model's own probabilities of the first token; 2 000 draws, within five standard errors."""
    model, prompt = digits(), ask(0)
    rows = write(model, easy_encoder, lambda number: prompt, 2000, limits=Limits(row=0, value=1), batch_size=500).rows
    first = [json.loads(row["text"], object_pairs_hook=list)[0][1] for row in rows]
    ids = easy_encoder.encode([*prompt.text, prompt.keys[0]])
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)
    for character in ["", *"0123456789"]:
        p = float(expected[easy_encoder.encode([character or QUOTE])[0]])
        assert first.count(character) / 2000 == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / 2000))


def test_a_quote_inside_a_value_is_no_end(reciting, easy_encoder, ask):
    """Oracle: the codec's inverse. Written as the codec writes it, a value with quotes passes through the sampler."""
    schema = Schema((Column("c", "category", "str", categories=('D "E"',)), Column("x", "text", "str")), "x", "multiclass")
    codec = RowCodec(schema)
    (cells,) = codec.cells(pd.DataFrame({"c": ['D "E"'], "x": ["1"]}))
    script = [*easy_encoder.encode([cells[0], QUOTE]), *easy_encoder.encode([cells[1], QUOTE])]
    model = reciting(len(easy_encoder.tokenizer), script)
    prompt = Prompt(ask(0).text, [codec.key(0, first=True), codec.key(1, first=False)], [0, 1])
    result = write(model, easy_encoder, lambda number: prompt, 1, codec.read, limits=Limits(row=0, value=40), batch_size=1)
    assert result.rows == [{"c": 'D "E"', "x": "1"}]


def test_sentence_piece_values_have_no_stray_space(reciting):
    """Oracle: the token the model drew; a decoder that strips a leading space would lose it, one that adds it, add it."""
    from test_segments import sentence_piece

    encoder = SegmentEncoder(sentence_piece(metaspace=False))
    model = reciting(len(encoder.tokenizer), encoder.encode([" New York", QUOTE]))
    encoder.tokenizer.pad_token = encoder.tokenizer.eos_token
    prompt = Prompt(["Human:"], ['{"c": "'], [0])
    result = write(model, encoder, lambda number: prompt, 1, limits=Limits(row=0, value=20), batch_size=1)
    assert result.rows[0]["text"] == '{"c": " New York"}'


def test_a_run_that_was_killed_gives_the_same_rows(digits, easy_encoder, ask, tmp_path, monkeypatch):
    """Oracle: the unbroken run; the shards that were done are not written again."""
    monkeypatch.setattr(sampler, "SHARD", 16)
    whole = write(digits(), easy_encoder, ask, 60, batch_size=8)
    model = digits()
    forward, calls = model.forward, []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == 150:
            raise RuntimeError("killed")
        return forward(*args, **kwargs)

    model.forward = dying
    with pytest.raises(RuntimeError, match="killed"):
        write(model, easy_encoder, ask, 60, batch_size=8, where={"work_dir": tmp_path})
    kept = sorted(tmp_path.glob("tries-*.json"))
    assert 0 < len(kept) < 4
    before = {file: file.read_text() for file in kept}
    result = write(digits(), easy_encoder, ask, 60, batch_size=8, where={"work_dir": tmp_path})
    assert result.rows == whole.rows
    assert result.numbers == whole.numbers == list(range(60))
    assert result.counts() == whole.counts()
    assert all(file.read_text() == text for file, text in before.items())
    assert len(list(tmp_path.iterdir())) == 4
    kept[0].write_text(before[kept[0]][:-40])  # as a machine that went down may leave it
    assert write(digits(), easy_encoder, ask, 60, batch_size=8, where={"work_dir": tmp_path}).rows == whole.rows
    assert kept[0].read_text() == before[kept[0]]


@pytest.mark.parametrize("batch_size", [8, 16])
def test_valid_rows_that_are_not_kept_are_made_up_for(digits, easy_encoder, ask, tmp_path, monkeypatch, batch_size):
    """Oracle: a run that keeps all, filtered afterwards; taken up again from its shards too."""
    monkeypatch.setattr(sampler, "SHARD", 16)

    def read(text):
        if text.count("7") > 2:
            raise Unreadable("sevens")
        return {"text": text}

    def keeps(rows, numbers):
        return np.array([number % 3 > 0 and "5" in row["text"] for row, number in zip(rows, numbers, strict=True)])

    every = write(digits(), easy_encoder, ask, 200, read=read, batch_size=batch_size)
    wanted = [(n, row) for n, row in zip(every.numbers, every.rows, strict=True) if n % 3 and "5" in row["text"]]
    assert len(wanted) > 40
    where = {"keeps": keeps, "work_dir": tmp_path}
    for _ in range(2):
        some = write(digits(), easy_encoder, ask, 40, read=read, batch_size=batch_size, where=where)
        assert list(zip(some.numbers, some.rows, strict=True)) == wanted[:40]
        assert some.tried == some.numbers[-1] + 1
        assert 40 + some.turned_down + some.rejected.total() == some.tried
        assert some.counts()["validity"] == pytest.approx(1 - some.rejected.total() / some.tried)


def test_rows_of_a_shard_keep_the_order_of_their_tries(digits, easy_encoder, ask):
    """Oracle: the keys that each try's prompt asks for; prompts are read by length, not by number."""
    lengths = [len(easy_encoder.encode(ask(number).text)) for number in range(30)]
    assert lengths != sorted(lengths, reverse=True)
    for number, row in enumerate(write(digits(), easy_encoder, ask, 30, batch_size=4).rows):
        assert row["text"].startswith(ask(number).keys[0])


SHARED = """
import sys
import torch

sys.path[:0] = [{tests!r}, {lm!r}]
import conftest
from harmonic.lm import sampler
from harmonic.lm.decoding import Decoding, Limits, Prompt, Writer
from harmonic.lm.load import table_tokenizer
from harmonic.training import Compute
from harmonic.lm.segments import SegmentEncoder

rank, world, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if world > 1:
    torch.distributed.init_process_group("gloo", init_method=f"file://{{file}}", rank=rank, world_size=world)
torch.set_num_threads(1)
sampler.SHARD = 8
encoder = SegmentEncoder(table_tokenizer(["0123456789"], ['{{"n": "', '"', "}}"], 300))
model = conftest.tiny_model.__wrapped__()("llama", len(encoder.tokenizer))
wrote = []
write = Writer.write
Writer.write = lambda self, prompts, numbers: wrote.extend(numbers) or write(self, prompts, numbers)
writer = Writer(model, encoder, Limits(0, 3), Decoding("given", batch_size=4), torch.device("cpu"), 0)
prompt = lambda number: Prompt(["Human: ", str(number)], ['{{"n": "'], [0])
read = lambda text: {{"text": text}}
result = sampler.sample_rows(writer, prompt, read, 43, compute=Compute("cpu", "32-true"))
filled = sampler.complete_rows(writer, lambda row, attempt: prompt(row), read, 21, compute=Compute("cpu", "32-true"))
print([row["text"] for row in result.rows + filled.rows], result.numbers, filled.numbers, result.counts())
print(len(wrote), file=sys.stderr)
if world > 1:  # a process that ends with its group's threads at work can be aborted
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


def test_two_processes_share_the_shards_and_write_what_one_would(tmp_path):
    """Oracle: one process; and that each of the two wrote a part of the tries."""
    here = Path(__file__).parent
    (tmp_path / "shared.py").write_text(SHARED.format(tests=str(here.parent), lm=str(here)))

    def start(rank, world):
        command = [sys.executable, str(tmp_path / "shared.py"), str(rank), str(world), str(tmp_path / "group")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    alone = start(0, 1).communicate(timeout=120)
    both = [process.communicate(timeout=120) for process in [start(rank, 2) for rank in range(2)]]
    counts = [int(error.splitlines()[-1]) for _, error in (alone, *both)]
    assert both[0][0] == both[1][0] == alone[0]
    assert len(alone[0]) > 1000
    assert 43 + 21 <= counts[0] <= 70
    assert all(16 <= count < 48 for count in counts[1:])
