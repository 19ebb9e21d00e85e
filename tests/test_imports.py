"""The direction of imports: `conf → data → fit → sample → score → record → tables`, and never back."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "words": (
        "errors",
        "seed",
        "redaction",
        "table",
        "store",
        "env",
        "meaning",
        "arguments",
        "budget",
        "build",
        "costs",
        "distributed",
        "synthesizer",
    ),
    "training": ("training",),
    "data": ("datasets",),
    "text": ("codec", "index", "neighbours", "dependencies"),
    "lm": ("lm",),
    "method": ("method",),
    "baselines": ("baselines",),
    "metrics": ("metrics",),
    "record": ("record", "tracking"),
    "bench": ("keys", "bench", "isolate"),
    "report": ("report",),
    "estimate": ("estimate",),
    "verify": ("verify",),
    "scripts": ("scripts",),
    "entry": ("run",),
}
"""Layer to its modules; `harmonic` itself loads on demand and stands in none."""
MAY_IMPORT = {
    "words": (),
    "data": ("words",),
    "text": ("words",),
    "training": ("words",),
    "lm": ("words", "training", "text"),
    "method": ("words", "training", "text", "lm"),
    "baselines": ("words", "training", "data", "text", "lm", "method"),
    "metrics": ("words", "training", "text", "lm"),
    "record": ("words",),
    "bench": ("words", "data", "method", "record"),
    "report": ("words", "record"),
    "estimate": ("words", "training", "text", "data", "lm", "method", "record", "bench", "report"),
    "verify": ("words", "data", "record", "bench"),
    "scripts": ("words", "training", "data", "text", "lm", "method", "baselines", "metrics", "record", "report", "verify"),
    "entry": ("words", "data", "method", "bench", "record", "report", "estimate"),
}
"""The allowed edges, besides those within a layer. Metrics get their data and the method handed in; reports, records."""
PACKAGES = ("harmonic", "baselines")


def sources():
    for folder in (*PACKAGES, "scripts"):
        yield from sorted((ROOT / folder).rglob("*.py"))
    yield ROOT / "run.py"


def module_of(path):
    """harmonic/lm/load.py → lm; run.py → run; scripts/x.py → scripts."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "harmonic" else parts[0]


def imported(path, everywhere=True):
    """Absolute names a file imports: anywhere in it, or at its top level only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from harmonic import env` names a module, `from harmonic.seed import derive_seed` does not.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module):
    (layer,) = [layer for layer, modules in LAYERS.items() if module in modules]
    return layer


def test_every_module_has_a_layer():
    """Oracle: the tree; a new module is put into the table, or this fails."""
    modules = {module_of(path) for path in sources()} - {"__init__"}
    assert modules == {module for members in LAYERS.values() for module in members}
    assert set(LAYERS) == set(MAY_IMPORT)


def test_the_table_has_no_circle():
    """Oracle: the order in which it is written: a layer names earlier ones alone."""
    order = list(LAYERS)
    for layer, allowed in MAY_IMPORT.items():
        assert all(order.index(other) < order.index(layer) for other in allowed)


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    """Oracle: the table of this file."""
    if module_of(path) == "__init__":
        return
    layer = layer_of(module_of(path))
    for name in imported(path):
        parts = name.split(".")
        if parts[0] in PACKAGES:
            other = "baselines" if parts[0] == "baselines" else parts[1]
            if (ROOT / "harmonic" / f"{other}.py").exists() or (ROOT / "harmonic" / other).is_dir() or other == "baselines":
                assert layer_of(other) in (layer, *MAY_IMPORT[layer]), f"{path.name} imports {name}"


@pytest.mark.parametrize("part", ["conditions", "examples", "rejection", "rewriting"])
def test_parts_of_the_method_that_know_rows_alone(part):
    """Oracle: the rule: what is shown, kept or put another way is a matter of rows, and of no model."""
    names = list(imported(ROOT / "harmonic" / "method" / f"{part}.py"))
    assert not [name for name in names if name.startswith(("harmonic.lm", "harmonic.training", "torch"))]


def test_only_the_entry_point_imports_hydra():
    """Oracle: the design: everything else takes plain values."""
    tops = {path: {name.split(".")[0] for name in imported(path)} for path in sources()}
    assert {path.name for path, names in tops.items() if names & {"hydra", "omegaconf"}} == {"run.py"}


def test_tests_are_imported_by_nothing():
    """Oracle: a package that is installed has none."""
    for path in sources():
        assert not [name for name in imported(path) if name.split(".")[0] in ("tests", "conftest", "pytest")]


def test_importing_the_package_is_cheap():
    """Oracle: the clock of the fastest of three, most of it pandas's; neither torch nor its users are loaded."""
    code = (
        "import sys; from time import perf_counter as now; start = now(); import pandas; between = now(); import harmonic; "
        "heavy = {'torch', 'transformers', 'lightning', 'sklearn', 'xgboost'} & set(sys.modules); "
        "print(between - start, now() - between, *heavy)"
    )
    command = [sys.executable, "-c", code]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
    assert all(len(line) == 2 for line in said), said
    pandas, own = min(([float(seconds) for seconds in line] for line in said), key=sum)
    assert pandas + own < 2
    assert own < 0.5 * pandas


def test_what_the_package_offers():
    """Oracle: the names the documentation uses; each is loaded when it is asked for."""
    import harmonic

    for name in harmonic.__all__:
        assert getattr(harmonic, name).__name__ == name
    with pytest.raises(AttributeError, match="nosuch"):
        harmonic.nosuch  # noqa: B018
