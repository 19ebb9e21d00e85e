"""The benchmark's entry point: `python run.py dataset=adult method=harmonic`, `-m` for sweeps, `--help` for the choices."""

import inspect
import logging
import os
import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harmonic import env
from harmonic.errors import BadInput

log = logging.getLogger("harmonic")
records: list[Any] = []
"""Of the cells this process ran, for the table at the end."""


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Run one cell, and the references it is read against."""
    env.set_threads(config.threads)
    from harmonic.bench import run_cell

    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    choices = HydraConfig.get().runtime.choices
    shared = {name: plain[name] for name in ("dataset", "metrics", "seed", "n_samples", "cache_dir", "results_dir")}
    methods = {plain["label"] or choices["method"]: _with_a_budget_it_knows(plain["method"])}
    methods |= {name: method for name, method in (plain["references"] or {}).items() if name not in methods}
    logger = instantiate(plain["logger"]) if plain["logger"] else None
    for name, method in methods.items():
        cell = {**shared, "names": {"method": name, "model": choices["model"]}, "method": method}
        log.info("%s, seed %d", name, plain["seed"])
        record = run_cell(cell, _build)
        records.append(record)
        if record.error:
            log.error("%s failed in %s (%s)", name, record.error["stage"], record.error["type"])
        if logger:
            logger.show(record)
        if record.error and record.error["stage"] == "data":
            break


def _with_a_budget_it_knows(method: dict[str, Any]) -> dict[str, Any]:
    """Without `budget` where a method trains nothing, so that `+method.budget=smoke` can be said to a sweep over all."""
    if "budget" in inspect.signature(get_object(method["_target_"])).parameters:
        return method
    return {name: value for name, value in method.items() if name != "budget"}


def _build(node: Any) -> Any:
    """What a node describes; a constructor's own BadInput comes through as it is."""
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, BadInput):
            raise error.__cause__ from None
        raise


def run() -> int:
    """`main` with every error a user can cause as one line; returns the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        message = " ".join(str(error).partition("Config search path")[0].split())
        print(f"run.py: {message} (python run.py --help shows the choices)", file=sys.stderr)
        return 2
    except BadInput as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint or finished stage", file=sys.stderr)
        return 130
    if records:
        from harmonic.report.tables import summary

        print(summary(records))
    return int(any(record.error for record in records))


if __name__ == "__main__":
    sys.exit(run())
