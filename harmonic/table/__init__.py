"""Tables: what their columns may hold, and rows that obey it."""

from harmonic.table.rows import (
    Split,
    coerce,
    digest,
    load_schema,
    load_table,
    save_schema,
    save_table,
    schema_of,
    with_columns,
)

__all__ = [
    "Split",
    "coerce",
    "digest",
    "load_schema",
    "load_table",
    "save_schema",
    "save_table",
    "schema_of",
    "with_columns",
]
