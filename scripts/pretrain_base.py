"""Pre-train the base model on tables of the prior, and on nothing else.

    python scripts/pretrain_base.py out=harmonic/lm/base/weights [threads=2] [trainer=auto] [steps=] [any field of Recipe=]

The same command takes up a run that was killed. `steps=N` cuts every phase to its share of N steps, for a trial. On glibc,
GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296 makes a CPU run a fifth faster.
"""

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harmonic import env
from harmonic.errors import BadInput

DEFAULTS = {"out": "", "threads": "1", "steps": "", "accelerator": "auto", "precision": "auto", "checkpoint_minutes": "2"}


def main(arguments: list[str]) -> int:
    """Train; a wrong argument is one line and exit status 1."""
    try:
        options = dict(argument.partition("=")[::2] for argument in arguments)
        settings = {**DEFAULTS, **options}
        if not settings["out"] or not settings["threads"].isdecimal():
            raise BadInput(f"out=FOLDER must be given, and threads be a whole number; found {arguments}.")
        env.set_threads(int(settings["threads"]))
        from harmonic.lm.base.pretrain import Recipe, pretrain
        from harmonic.lm.module import Compute

        recipe = _recipe(Recipe(), {name: value for name, value in options.items() if name not in DEFAULTS})
        if settings["steps"]:
            recipe = _shortened(recipe, _number("steps", settings["steps"], int))
        minutes = _number("checkpoint_minutes", settings["checkpoint_minutes"], float)
        compute = Compute(settings["accelerator"], settings["precision"], minutes)
        summary = pretrain(recipe, Path(settings["out"]), compute)
    except BadInput as error:
        print(f"pretrain_base.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command takes up where this one stopped", file=sys.stderr)
        return 130
    print(f"{settings['out']}: {summary['parameters']} parameters, {summary['tokens']} tokens, {summary['seconds']:.0f} s")
    return 0


def _number(option: str, value: str, kind: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise BadInput(f"{option} must be a number ({kind.__name__}), but is {value!r}: correct it.") from None


def _recipe(recipe: Any, options: dict[str, str]) -> Any:
    """The recipe with its plain fields overridden."""
    plain = {field.name: getattr(recipe, field.name) for field in fields(recipe) if field.name != "phases"}
    unknown = sorted(set(options) - set(plain))
    if unknown:
        raise BadInput(f"options are {', '.join([*DEFAULTS, *plain])}, but found {', '.join(unknown)}: correct it.")
    return replace(recipe, **{name: _number(name, value, type(plain[name])) for name, value in options.items()})


def _shortened(recipe: Any, steps: int) -> Any:
    share = steps / recipe.steps
    phases = tuple(replace(phase, steps=max(1, round(share * phase.steps))) for phase in recipe.phases)
    return replace(recipe, phases=phases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
