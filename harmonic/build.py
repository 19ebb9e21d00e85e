"""From configuration to objects: `_target_` and the constructor's signature are the whole contract."""

import inspect
from importlib import import_module
from typing import Any

from harmonic.errors import BadInput

TARGET = "_target_"


def build(node: Any) -> Any:
    """What plain values describe: a dictionary with `_target_` is that class called with the rest, built first.

    Raises:
        BadInput: there is no such class, it takes no such option or lacks one; and whatever its constructor raises.
    """
    if isinstance(node, list):
        return [build(part) for part in node]
    if not isinstance(node, dict):
        return node
    options = {name: build(value) for name, value in node.items() if name != TARGET}
    if TARGET not in node:
        return options
    target = target_of(node)
    try:
        inspect.signature(target).bind(**options)
    except TypeError as error:
        known = ", ".join(inspect.signature(target).parameters)
        message = f"{node[TARGET]} must be given its own options ({known}), but there is {error}: correct it."
        raise BadInput(message) from None
    return target(**options)


def build_object(node: Any) -> Any:
    """`build` of what must name a class."""
    target_of(node)
    return build(node)


def target_of(node: Any) -> Any:
    """The class or function that a node's `_target_` names.

    Raises:
        BadInput: it names none, or there is none of that name.
    """
    if not isinstance(node, dict) or TARGET not in node:
        raise BadInput(f"A configuration must name its class in {TARGET}, but {node!r} does not: add it.")
    module, _, name = str(node[TARGET]).rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"_target_ must name a class that can be imported, but {node[TARGET]!r} cannot ({error}).") from None
