"""Pre-train the base model on tables of the prior, and on nothing else.

    python scripts/pretrain_base.py out=harmonic/lm/base/weights [threads=2] [workers=1] [accelerator=auto] [steps=]
                                    [field of Recipe=]

`workers` processes make the batches: about 100 000 tokens a second each. The same command takes up a run that was killed.
`steps=N` cuts every phase to its share of N steps, for a trial. On glibc,
GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296 makes a CPU run a fifth faster.
"""

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harmonic import env
from harmonic.arguments import read_arguments
from harmonic.errors import BadInput, check_count
from harmonic.store import check_writable

OWN = {
    "out": "",
    "threads": 1,
    "workers": 1,
    "steps": 0,
    "accelerator": "auto",
    "precision": "auto",
    "checkpoint_minutes": 2.0,
}

COUNTS = ("workers", "hidden_size", "layers", "heads", "mlp_size", "vocab_size", "slots", "tokenizer_tables", "context")
"""Options that must be at least 1."""


def main(arguments: list[str]) -> int:
    """Train; a wrong argument is one line and exit status 1."""
    try:
        threads = [argument for argument in arguments if argument.startswith("threads=")]
        env.set_threads(read_arguments(threads, OWN)["threads"])  # before torch is imported
        from harmonic.lm.base.pretrain import Recipe, pretrain
        from harmonic.training import Compute

        plain = {field.name: getattr(Recipe(), field.name) for field in fields(Recipe) if field.name != "phases"}
        options = read_arguments(arguments, {**OWN, **plain}, ["out"])
        check_writable("out", Path(options["out"]))
        for name in COUNTS:
            check_count(name, options[name], 1)
        recipe = replace(Recipe(), **{name: options[name] for name in plain})
        if options["steps"]:
            recipe = _shortened(recipe, options["steps"])
        compute = Compute(options["accelerator"], options["precision"], options["checkpoint_minutes"])
        summary = pretrain(recipe, Path(options["out"]), compute, workers=options["workers"])
    except BadInput as error:
        print(f"pretrain_base.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command takes up where this one stopped", file=sys.stderr)
        return 130
    print(f"{options['out']}: {summary['parameters']} parameters, {summary['tokens']} tokens, {summary['seconds']:.0f} s")
    return 0


def _shortened(recipe: Any, steps: int) -> Any:
    share = steps / recipe.steps
    phases = tuple(replace(phase, steps=max(1, round(share * phase.steps))) for phase in recipe.phases)
    return replace(recipe, phases=phases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
