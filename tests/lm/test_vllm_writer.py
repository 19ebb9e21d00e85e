"""The vLLM back end, on a stand-in for its engine. Oracles: the patterns it is handed, and the codec's strict reader."""

import re
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from harmonic.errors import BadInput
from harmonic.lm.decoding import Decoding
from harmonic.lm.load import BASE
from harmonic.method.sampling import Sampling
from harmonic.table import coerce


@pytest.fixture
def engine(monkeypatch, easy_codec, easy_table):
    """A stand-in that answers with a train row that fits, written in the order that the expression asks for."""
    seen = SimpleNamespace(settings=[], prompts=[], models=[])
    cells = easy_codec.cells(easy_table)
    names = easy_codec.schema.names

    class Engine:
        def __init__(self, model, seed):
            seen.models.append(BASE.restore(model))

        def generate(self, prompts, settings, use_tqdm):
            seen.prompts += prompts
            seen.settings += settings
            return [self.answer(one) for one in settings]

        def answer(self, settings):
            expression = settings.structured_outputs.regex
            order = sorted(range(len(names)), key=lambda place: expression.index(f'"{names[place]}": "'))
            texts = ["".join(easy_codec.row(row, order)) for row in cells[settings.seed % 7 :]]
            text = next(text for text in texts if re.fullmatch(expression, text))
            return SimpleNamespace(outputs=[SimpleNamespace(text=text, token_ids=[0] * 9)])

    package, parameters = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    package.LLM, package.SamplingParams = Engine, SimpleNamespace
    parameters.StructuredOutputsParams = SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", parameters)
    return seen


@pytest.fixture
def harmonic(learnt, quick_harmonic, tmp_path):
    learnt.save(tmp_path)
    decoding = Decoding(temperature=0.7, top_k=5, top_p=0.9)
    return quick_harmonic(sampling=Sampling("neighbours", decoding=decoding, engine="vllm")).load(tmp_path)


def test_it_is_asked_for_what_torch_would_write(harmonic, engine, easy_schema):
    """Oracle: settings by hand, prompts by the encoder, one expression a row that a row in its order fits."""
    rows = harmonic.sample(20, seed=3)
    pd.testing.assert_frame_equal(coerce(rows, easy_schema, "rows"), rows)
    assert len(engine.models) == 1
    assert engine.models[0][0].config.vocab_size == len(harmonic.encoder.tokenizer)
    settings = engine.settings[0]
    assert (settings.temperature, settings.top_k, settings.top_p) == (0.7, 5, 0.9)
    assert settings.max_tokens == harmonic.limits.row
    assert len({one.seed for one in engine.settings}) == 20
    asked = {tuple(prompt["prompt_token_ids"]) for prompt in engine.prompts}
    assert asked == {tuple(harmonic.encoder.encode(harmonic.prompt(number, 3).text)) for number in range(20)}
    assert harmonic.report["generation"]["new_tokens"] == 180
    assert harmonic.report["masks"] == {}


def test_a_draft_is_written_by_the_same_engine(harmonic, engine, easy_table):
    """Oracle: how many engines there were: a GPU holds one; and both passes were asked for."""
    harmonic.sampling = replace(harmonic.sampling, prompts="generated")
    assert len(harmonic.sample(20, seed=3)) == 20
    assert len(engine.models) == 1
    assert len({one.seed for one in engine.settings}) >= 20 + len(easy_table)


def test_known_cells_are_part_of_the_expression(harmonic, engine):
    """Oracle: the cells themselves."""
    rows = harmonic.sample(4, seed=0, conditions=pd.DataFrame({"label": ["yes", "no"] * 2}))
    assert rows["label"].tolist() == ["yes", "no"] * 2
    assert all('"label": "yes"' in one.structured_outputs.regex or '"label": "no"' in one.structured_outputs.regex
               for one in engine.settings)  # fmt: skip


def test_without_the_package_it_says_what_to_install(harmonic, monkeypatch):
    """Oracle: one sentence with the command."""
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(BadInput, match=r"pip install -e '\.\[vllm\]'"):
        harmonic.sample(1, seed=0)


@pytest.mark.parametrize("settings", [{"form": "free"}, {"exact": True}])
def test_forms_it_cannot_write_are_refused(harmonic, settings):
    """Oracle: the option's rule."""
    with pytest.raises(BadInput, match="needs decoding"):
        harmonic.writer(Decoding(**settings), 0)
