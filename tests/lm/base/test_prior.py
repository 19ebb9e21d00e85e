"""The prior. Oracles: its own schema, repetition bit for bit, and the operating system's word on which files were opened."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import harmonic.lm.base as base
from harmonic.codec import RowCodec
from harmonic.lm.base.prior import DATE_FORMATS, Ranges, draw_table
from harmonic.table import coerce, digest, schema_of

DIGEST = "22e9264430cf817d8af87a5e2d3046b37794cff5190b34436a89c6086ce6b03c"
"""SHA-256 of the table of generator 7. Another digest is another prior: the shipped weights are then no longer its model."""


def tables(count, ranges=None):
    return [draw_table(np.random.default_rng(seed), ranges) for seed in range(count)]


@pytest.fixture(scope="module")
def many():
    return tables(150)


def test_a_table_is_pinned():
    """Oracle: the digest it had when the weights were trained."""
    assert digest(draw_table(np.random.default_rng(7))) == DIGEST


def test_a_generator_is_all_it_depends_on():
    """Oracle: the same generator again, with global randomness stirred in between."""
    once = [digest(table) for table in tables(5)]
    np.random.seed(3)  # noqa: NPY002
    assert [digest(table) for table in tables(5)] == once
    assert len(set(once)) == 5


def test_tables_obey_their_schema(many):
    """Oracle: `coerce` and each column's reader, which refuse a wrong kind, category, range or number of places."""
    for table in many:
        schema = schema_of(table)
        pd.testing.assert_frame_equal(coerce(table, schema, "prior"), table, check_dtype=False)
        for cells in RowCodec(schema).cells(table.iloc[:20]):
            for column, text in zip(schema.columns, cells, strict=True):
                column.read(text.replace("\\u0022", '"'))
        assert schema.names[-1] == schema.target
        assert table[schema.target].nunique() > 1


def test_every_kind_of_column_is_there(many):
    """Oracle: the list of what real tables hold: kinds, empty cells, zero-inflation, skew, dates, identifiers, classes."""
    columns = [(column, table[column.name]) for table in many for column in schema_of(table).columns]
    kinds = Counter(column.kind for column, _ in columns)
    assert all(kinds[kind] > 20 for kind in ("integer", "decimal", "category", "boolean", "datetime"))
    assert {column.datetime_format for column, _ in columns if column.kind == "datetime"} == set(DATE_FORMATS)
    assert sum(column.nullable and values.isna().any() for column, values in columns) > 50
    numbers = [values.dropna().astype(float) for column, values in columns if column.kind in ("integer", "decimal")]
    assert sum((values == 0).mean() > 0.5 and values.nunique() > 20 for values in numbers) > 20
    assert sum(values.skew() > 2 for values in numbers) > 50
    assert sum(values.is_unique and (values % 1 == 0).all() for values in numbers) > 5
    assert sum((values > 1e9).all() and (values % 86_400 == 0).all() for values in numbers) > 3
    levels = [len(column.categories) for column, _ in columns if column.kind == "category"]
    assert sum(level == 2 for level in levels) > 20
    assert 40 < max(levels) <= 60
    assert {len(schema_of(table)[schema_of(table).target].categories) for table in many} >= {0, 2, 3, 5, 8}
    assert Counter(schema_of(table).task for table in many).keys() == {"binary", "multiclass", "regression"}


def test_columns_depend_on_each_other(many):
    """Oracle: rank correlation: in most tables some pair of numbers moves together, which independent columns never do."""
    strongest = []
    for table in many:
        numbers = table.select_dtypes("number")
        if numbers.shape[1] > 3 and len(table) > 200:
            correlation = numbers.rank().corr().abs().to_numpy()
            strongest.append(np.nanmax(np.where(np.eye(len(correlation)), 0, correlation)))
    assert len(strongest) > 30
    assert np.median(strongest) > 0.4


def test_sizes_are_kept():
    """Oracle: the bounds that were asked for."""
    for table in tables(30, Ranges(columns=(4, 6), rows=(30, 50), categories=5)):
        assert 4 <= table.shape[1] <= 6
        assert 30 <= len(table) <= 50
        assert all(len(column.categories) <= 10 for column in schema_of(table).columns)


def test_no_file_is_read():
    """Oracle: Python's audit hook: while tables are drawn and made into batches, nothing but modules is opened."""
    code = """
import sys
import numpy as np
from harmonic.lm.base import pretrain, prior
from harmonic.lm.base.documents import Reader
phases = (pretrain.Phase(2, 2, 256, prior.Ranges(columns=(3, 5))),)
recipe = pretrain.Recipe(tokenizer_tables=3, vocab_size=300, phases=phases)
pretrain.make_batch(Reader(pretrain.make_tokenizer(recipe)), recipe, 0)
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
reader = Reader(pretrain.make_tokenizer(recipe))
for step in range(2):
    pretrain.make_batch(reader, recipe, step)
print([name for name in opened if not name.endswith((".py", ".pyc", ".so"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_data_set_is_in_reach():
    """Oracle: the imports of every file that makes pre-training data: none of those that load or name real tables."""
    real = {
        "harmonic.datasets",
        "harmonic.datasets.bundled",
        "harmonic.datasets.download",
        "sklearn",
        "statsmodels",
        "sdmetrics",
    }
    for file in sorted(Path(base.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            found = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", [])]
            assert not {name for name in found if name} & real, file.name
            assert not any(str(name).startswith("sklearn.datasets") for name in found)
