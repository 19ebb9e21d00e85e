"""Arguments of the scripts: `name=value` as on Hydra's command line, each of its default's type."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harmonic.errors import BadInput

BOOLEANS = {"true": True, "false": False}


def read_arguments(arguments: Sequence[str], defaults: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """Every option with its value: the one given, else its default.

    Args:
        arguments: as they stand on the command line.
        defaults: name to default; an int takes whole numbers of at least 0, a float numbers, a bool true or false.
        required: names that must be given, and not be empty.

    Under --help the script's docstring and the options are printed, and the script ends.

    Raises:
        BadInput: an option that there is not, one without a value, a value of another type, or one that is missing.
    """
    if {"-h", "--help"} & set(arguments):
        print((sys.modules["__main__"].__doc__ or "").strip())
        print("\noptions: " + ", ".join(f"{name}={default}" for name, default in defaults.items()))
        raise SystemExit(0)
    given = dict(argument.partition("=")[::2] for argument in arguments)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        known = ", ".join(f"{name}=" for name in defaults)
        raise BadInput(f"options are {known}, but found {', '.join(unknown)}: correct it.")
    missing = [name for name in required if not given.get(name)]
    if missing:
        raise BadInput(f"{' and '.join(f'{name}=…' for name in missing)} must be given.")
    return {name: _typed(name, given[name], default) if name in given else default for name, default in defaults.items()}


def interruptible(main: Callable[[list[str]], int], left: str = "nothing is written") -> int:
    """The exit status of a script's `main` on its command line; a Ctrl-C is one line, what is `left`, and 130."""
    try:
        return main(sys.argv[1:])
    except KeyboardInterrupt:
        print(f"\n{Path(sys.argv[0]).name}: interrupted, {left}", file=sys.stderr)
        return 130


def _typed(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text in BOOLEANS:
            return BOOLEANS[text]
        raise BadInput(f"{name} must be true or false, but is {text!r}: correct it.")
    if isinstance(default, int):
        if text.isdecimal():
            return int(text)
        raise BadInput(f"{name} must be a whole number of at least 0, but is {text!r}: correct it.")
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            raise BadInput(f"{name} must be a number, but is {text!r}: correct it.") from None
    return text
