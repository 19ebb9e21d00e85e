"""Arguments of scripts. Oracles: their types, and the rule that a user's mistake is one sentence that names it."""

import sys

import pytest

from harmonic.arguments import interruptible, read_arguments
from harmonic.errors import BadInput

DEFAULTS = {"dataset": "", "rows": 5, "rate": 0.5, "fast": True}


def test_each_has_the_type_of_its_default():
    """Oracle: by hand."""
    found = read_arguments(["dataset=a=b", "rows=7", "fast=false"], DEFAULTS, ["dataset"])
    assert found == {"dataset": "a=b", "rows": 7, "rate": 0.5, "fast": False}
    assert read_arguments(["rate=2"], DEFAULTS) == {**DEFAULTS, "rate": 2.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["row=3"], "options are dataset=, rows=, rate=, fast=, but found row"),
        (["rows=few"], "rows must be a whole number of at least 0, but is 'few'"),
        (["rows=-1"], "rows must be a whole number"),
        (["rows"], "but is ''"),
        (["rate=high"], "rate must be a number, but is 'high'"),
        (["fast=yes"], "fast must be true or false, but is 'yes'"),
        ([], "dataset=… must be given"),
        (["dataset="], "dataset=… must be given"),
    ],
)
def test_mistakes(arguments, words):
    """Oracle: the sentence."""
    with pytest.raises(BadInput, match=words):
        read_arguments(arguments, DEFAULTS, ["dataset"] if "given" in words else [])


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_the_scripts_own_words(word, monkeypatch, capsys):
    """Oracle: the docstring of what runs, and the options; nothing else is done."""
    monkeypatch.setattr(sys.modules["__main__"], "__doc__", "What it does.")
    with pytest.raises(SystemExit) as end:
        read_arguments(["rows=3", word], {"rows": 1}, required=["out"])
    assert end.value.code == 0
    assert capsys.readouterr().out == "What it does.\n\noptions: rows=1\n"


def test_a_ctrl_c_is_one_line(monkeypatch, capsys):
    """Oracle: the rule: one line and exit status 130; a script that ends has its own status and its own arguments."""

    def stopped(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["scripts/bench.py", "rows=3"])
    assert interruptible(stopped) == 130
    assert capsys.readouterr().err == "\nbench.py: interrupted, nothing is written\n"
    assert interruptible(stopped, "what was measured is written") == 130
    assert capsys.readouterr().err == "\nbench.py: interrupted, what was measured is written\n"
    assert interruptible(lambda arguments: len(arguments)) == 1
