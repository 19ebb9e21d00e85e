"""Conformance: our instructions are the authors' own, byte for byte (reference/make_published_instructions.py)."""

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from harmonic.errors import BadInput

ROOT = Path(__file__).parent.parent.parent
PUBLISHED = json.loads((ROOT / "tests" / "reference" / "published_instructions.json").read_text())


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "export_instructions.py"
    spec = importlib.util.spec_from_file_location("export_instructions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.paper_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_instructions_are_the_published_ones(script, paper_data_dir, tmp_path, name, capsys):
    """Oracle: the authors' files. Neighbours, label filter, texts, order of lines: all of it has to agree."""
    dataset, what = name.split("/")
    out = tmp_path / "out.jsonl"
    assert script.main([f"dataset={dataset}", f"what={what}", f"out={out}"]) == 0
    content = out.read_bytes()
    assert content.count(b"\n") == PUBLISHED[name]["lines"]
    assert hashlib.sha256(content).hexdigest() == PUBLISHED[name]["sha256"]
    assert capsys.readouterr().out == f"{out}: {PUBLISHED[name]['lines']} instructions\n"


def test_the_form_of_a_line(script):
    """Oracle: the published form; and our own method, whose YAML is exported like any other."""
    lines = script.export("wine", "harmonic", "training", 0)
    assert [line["id"] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    assert len(lines) == 124
    human, assistant = lines[0]["conversations"]
    assert (human["from"], assistant["from"]) == ("human", "assistant")
    assert human["value"].startswith("Here are 5 tabular data about chemical analyses of wines, each containing 13 columns")
    assert list(json.loads(assistant["value"]))[-1] == "target"
    prompts = script.export("wine", "harmonic", "sampling", 0)
    assert {line["conversations"][1]["value"] for line in prompts} == {""}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dataset=wine"], "out=…"),
        (["out=x"], "dataset=…"),
        (["dataset=whine", "out=x"], "'whine'"),
        (["dataset=wine", "out=x", "method=nosuch"], "nosuch.yaml"),
        (["dataset=wine", "out=x", "method=copy"], "copy"),
        (["dataset=wine", "out=x", "what=everything"], "everything"),
        (["dataset=wine", "out=no/such/folder/x"], "no/such/folder"),
        (["dataset=wine", "out=x", "method=../model/base"], "method must be a plain name"),
    ],
)
def test_a_wrong_argument_is_one_line(script, monkeypatch, tmp_path, capsys, arguments, words):
    """Oracle: the rule for what a user can cause: one line that names it, a status, and no file."""
    monkeypatch.chdir(tmp_path)
    assert script.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said
    assert not list(tmp_path.rglob("x"))


def test_an_unknown_data_set_is_bad_input(script):
    """Oracle: the same rule, for callers of `export`."""
    with pytest.raises(BadInput):
        script.export("whine", "harmonic", "training", 0)
