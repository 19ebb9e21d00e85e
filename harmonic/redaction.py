"""Credentials, taken out of whatever is shown or written down."""

import re
from collections.abc import Mapping
from typing import Any

SECRETS = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)|\bhf_\w{8,}|(?<=token=)[^\s&'\"]+")
"""As a hub's address or a library's error may hold them."""


def redact(text: str) -> str:
    """The text without a hub's credentials."""
    return SECRETS.sub("***", text)


def redacted(plain: Any) -> Any:
    """Plain values, in all of whose texts `redact` was."""
    if isinstance(plain, Mapping):
        return {name: redacted(value) for name, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [redacted(value) for value in plain]
    return redact(plain) if isinstance(plain, str) else plain
