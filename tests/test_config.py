"""Configuration. Oracle: the constructors' signatures: every option of every YAML is one, and every one has a YAML."""

import inspect
from pathlib import Path

import hydra.utils
import joblib
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from harmonic import env
from harmonic.record import Cell
from harmonic.report.published import published

CONF = Path(__file__).parent.parent / "conf"
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and list(folder.glob("*.yaml")))
FILES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
NEEDED = {("dataset", "csv"): "dataset.path=my.csv", ("method", "file"): "method.path=my.csv"}
MAY_BE_LEFT_OUT = {
    "harmonic.datasets.download.": "sources of the published files, each with the settings that it needs",
    "harmonic.datasets.Folder": "a set without a download has none",
}
"""Constructors of which a YAML need not list every option, and why."""
UNLISTED = {"remote_code", "confirm_remote_code"}
"""Options that stand in no YAML: what runs code from elsewhere is said by who wants it, and by nobody else."""


def composed(group, name):
    chosen = f"+{group}={name}" if group == "experiment" else f"{group}={name}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [chosen, *([NEEDED[group, name]] if (group, name) in NEEDED else [])])
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def nodes(plain, path=""):
    """Every node with `_target_`, and where it stands."""
    if isinstance(plain, dict):
        if "_target_" in plain:
            yield path, plain
        for name, value in plain.items():
            yield from nodes(value, f"{path}.{name}".lstrip("."))
    elif isinstance(plain, list):
        for place, value in enumerate(plain):
            yield from nodes(value, f"{path}[{place}]")


def test_every_group_is_known():
    """Oracle: the design's list; a new group belongs into it and into the defaults."""
    assert set(GROUPS) <= {"dataset", "model", "method", "metrics", "trainer", "logger", "experiment", "hydra"}
    defaults = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    named = {next(iter(entry)).split()[-1].partition("@")[0] for entry in defaults if isinstance(entry, dict)}
    assert set(GROUPS) - {"experiment"} <= named  # a sweep is asked for by +experiment=…


@pytest.mark.parametrize(("group", "name"), FILES, ids=lambda value: value)
def test_every_choice_composes_and_binds(group, name):
    """Oracle: `inspect.signature`: no key that is no option, no option that has no key."""
    found = list(nodes(composed(group, name)))
    assert found
    for path, node in found:
        target = hydra.utils.get_object(node["_target_"])
        signature = inspect.signature(target)
        keys = {key for key in node if not key.startswith("_")}
        signature.bind(**dict.fromkeys(keys))
        if not any(node["_target_"].startswith(prefix) for prefix in MAY_BE_LEFT_OUT):
            assert keys == set(signature.parameters) - UNLISTED, f"{path} of {group}={name}"


@pytest.mark.parametrize(("group", "name"), FILES, ids=lambda value: value)
def test_every_choice_is_built(group, name):
    """Oracle: the constructors themselves, which check more than names; nothing is read or loaded yet."""
    for path, node in nodes(composed(group, name)):
        if "." not in path or path.startswith(("metrics.", "references.")):
            built = hydra.utils.instantiate(node, _convert_="all")
            assert type(built).__name__ == node["_target_"].rpartition(".")[2]


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "method").glob("*.yaml")))
def test_every_method_is_a_synthesizer(name):
    """Oracle: the protocol's signatures, which the runner relies on; what a method takes besides has a default."""
    from harmonic.synthesizer import Synthesizer

    target = hydra.utils.get_object(composed("method", name)["method"]["_target_"])
    for method in ("fit", "sample", "save", "load"):
        wanted = inspect.signature(getattr(Synthesizer, method)).parameters
        given = inspect.signature(getattr(target, method)).parameters
        asked = {n: p.kind for n, p in given.items() if n in wanted or p.default is inspect.Parameter.empty}
        assert asked == {n: p.kind for n, p in wanted.items()}


@pytest.mark.parametrize("name", composed("metrics", "all")["metrics"])
def test_every_metric_is_a_metric(name):
    """Oracle: the contract `(split, synthetic, *, seed, synthesizer=None)`, and a docstring that argues for it."""
    target = hydra.utils.get_object(composed("metrics", "all")["metrics"][name]["_target_"])
    parameters = inspect.signature(target.__call__).parameters
    assert list(parameters) == ["self", "split", "synthetic", "seed", "synthesizer"]
    assert parameters["seed"].kind is parameters["synthesizer"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["synthesizer"].default is None
    assert len(inspect.getdoc(target) or "") > 100


def test_every_metric_is_among_all():
    """Oracle: the folder: a metric with a YAML is in conf/metrics/all.yaml, by that name."""
    single = {path.stem for path in (CONF / "metrics").glob("*.yaml")} - {"all", "default", "published", "privacy", "paper"}
    assert set(composed("metrics", "all")["metrics"]) == single
    for name in single:
        assert set(composed("metrics", name)["metrics"]) == {name}


def test_the_papers_grid_holds_its_tables():
    """Oracle: the paper's methods and data sets that can be had, floors and ceiling; names of YAMLs; five seeds."""
    experiment = composed("experiment", "paper")
    assert experiment["references"] is None
    assert set(experiment["metrics"]) == set(composed("metrics", "paper")["metrics"])
    params = yaml.safe_load((CONF / "experiment" / "paper.yaml").read_text())["hydra"]["sweeper"]["params"]
    grid = {name: [word.strip() for word in str(words).split(",")] for name, words in params.items()}
    assert set(grid["dataset"]) == set(published().datasets)
    assert grid["seed"] == ["0", "1", "2", "3", "4"]
    for name in ("dataset", "method"):
        assert set(grid[name]) <= {path.stem for path in (CONF / name).glob("*.yaml")}
    assert {"independent", "holdout", "harmonic", *(ours[0] for ours in published().methods.values())} <= set(grid["method"])


def test_the_default_needs_nothing(tmp_path):
    """Oracle: the promise that `python run.py` runs offline on a CPU."""
    config = composed("trainer", "auto")
    assert config["dataset"]["_target_"] == "harmonic.datasets.Bundled"
    assert config["model"]["_target_"] == "harmonic.lm.load.Pretrained"
    assert config["model"]["path"] == "base"
    assert not any("published" in name for name in config["metrics"])
    assert config["logger"] is None or config["logger"] == {}


def test_the_defaults_in_code_are_those_of_the_yaml():
    """Oracle: `Harmonic()` and `python run.py` are one method: what the YAML says is what the code does without it."""
    from harmonic.method import Harmonic

    built, plain = hydra.utils.instantiate(composed("method", "harmonic")["method"], _convert_="all"), Harmonic()
    for name in inspect.signature(Harmonic).parameters:
        if name != "model":
            assert getattr(built, name) == getattr(plain, name), name
    assert built.backbone == plain.backbone


def test_every_yaml_says_what_it_is():
    """Oracle: house style: the first line is a comment, for those who read the folder to choose."""
    for group, name in FILES:
        assert (CONF / group / f"{name}.yaml").read_text().startswith("# "), f"{group}/{name}"


def test_names_of_choices_are_names_of_folders():
    """Oracle: the file system: names become folders of records."""
    for _, name in FILES:
        assert Cell("d", name, name, 0, "k" * 8).folder(Path("r")).parts == ("r", "d", name, name, "seed0-kkkkkkkk")
        assert name == name.lower()


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "hydra" / "launcher").glob("*.yaml")))
def test_every_launcher_is_hydra_s_with_our_defaults(name):
    """Oracle: the plugin's own options: each key is one, and ours are chosen over what the plugin registers."""
    if not OmegaConf.has_resolver("workers"):
        OmegaConf.register_new_resolver("workers", env.workers)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"hydra/launcher={name}", "threads=2"], return_hydra_config=True)
    launcher = config.hydra.launcher
    plugin = ConfigStore.instance().repo["hydra"]["launcher"][f"{name}.yaml"].node
    assert set(launcher) <= set(plugin)
    assert launcher._target_ == plugin._target_
    if name == "joblib":
        assert (launcher.n_jobs, int(launcher.batch_size)) == (max(1, joblib.cpu_count() // 2), 1)
        assert env.workers(0) == env.workers(1)  # what is no number of threads is refused elsewhere, in one sentence
    else:
        assert (launcher.cpus_per_task, launcher.name) == (2, "harmonic")
