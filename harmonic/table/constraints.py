"""Rules that a whole row obeys, as in `end >= start` or `not (status == "single" and spouse != "none")`.

A rule compares columns, numbers and texts with <, <=, ==, !=, >=, >, in and not in, does sums with + - * / and joins with
and, or, not. A name that is no Python identifier stands in backticks. It is read as an expression tree of these alone, so
that a rule from a file can compute nothing else. Dates count as seconds since 1970, a text beside one as a date of its form;
booleans are True and False. What an empty cell takes part in is neither true nor false, and a rule that it leaves open is
not broken. A comparison with what a column never is, such as a category that it does not have, is refused.
"""

import ast
import itertools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from harmonic.errors import BadInput
from harmonic.table.schema import DISCRETE_KINDS, Column, Schema

SHOWN = 8
"""Categories that an error lists."""
COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
    ast.In: lambda value, choices: value in choices,
    ast.NotIn: lambda value, choices: value not in choices,
}
SUMS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_BACKTICKS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`([^`]+)`""")
"""A name in backticks, or a text, in which backticks mean nothing."""


class _Empty(Exception):
    """An empty cell takes part."""


@dataclass(frozen=True)
class Constraint:
    """One rule."""

    text: str
    tree: ast.expr
    columns: Mapping[str, Column]
    """Names in the tree to columns."""

    @classmethod
    def of(cls, text: str, schema: Schema) -> "Constraint":
        """Read a rule about the columns of a schema.

        Raises:
            BadInput: it is no rule, or names no column.
        """
        quoted: dict[str, str] = {}
        known = {column.name: column for column in schema.columns}
        free = (word for number in itertools.count() if (word := f"column_{number}") not in known)

        def name(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0]
            quoted[word := next(free)] = match[1]
            return word

        try:
            tree = ast.parse(_BACKTICKS.sub(name, text).strip(), mode="eval").body
        except (SyntaxError, ValueError):
            raise BadInput(
                f"dataset.constraints must compare columns, but {text!r} does not: correct it (a name that is a word of "
                f"Python's, such as `class`, stands in backticks)."
            ) from None
        columns = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                called = quoted.get(node.id, node.id)
                if called not in known:
                    raise BadInput(
                        f"dataset.constraints: {text!r} names {called!r}, which is none of {', '.join(known)}: correct it "
                        f"(a name with spaces or signs stands in backticks)."
                    )
                columns[node.id] = known[called]
        constraint = cls(text, tree, columns)
        constraint._check(tree)
        return constraint

    def _check(self, node: ast.expr) -> None:
        """Refuse whatever is no rule, before any row is looked at."""
        if isinstance(node, ast.BoolOp):
            parts = node.values
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            parts = [node.operand]
        elif isinstance(node, ast.Compare) and all(type(op) in COMPARISONS for op in node.ops):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.BinOp) and type(node.op) in SUMS:
            parts = [node.left, node.right]
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            parts = node.elts
        elif isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str))):
            parts = []
        else:
            raise BadInput(
                f"dataset.constraints: {self.text!r} holds {ast.unparse(node)!r}, which is no comparison, sum, column, "
                f"number or text: correct it."
            )
        for part in parts:
            self._check(part)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for sign, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True):
                if isinstance(sign, (ast.Eq, ast.NotEq)):
                    self._check_values(left, [right])
                    self._check_values(right, [left])
                elif isinstance(right, (ast.List, ast.Tuple, ast.Set)):  # in a text, `in` looks for a part of it
                    self._check_values(left, right.elts)

    def _check_values(self, side: ast.expr, others: Sequence[ast.expr]) -> None:
        """Refuse values none of which a column can have: the comparison would mean nothing."""
        column = self.columns.get(side.id) if isinstance(side, ast.Name) else None
        values = [other.value for other in others if isinstance(other, ast.Constant)]
        if column is not None and len(values) == len(others) and not any(_may_be(value, column) for value in values):
            raise BadInput(
                f"dataset.constraints: {self.text!r} compares {column.name!r} with {', '.join(map(repr, values))}, which it "
                f"never is ({_domain(column)}): correct it."
            )

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether a row, stored values by column name, obeys the rule.

        Raises:
            BadInput: the rule compares what cannot be compared.
        """
        try:
            return bool(self._value(self.tree, row))
        except _Empty:
            return True
        except (TypeError, ValueError) as error:
            reason = str(error).splitlines()[0].partition(". ")[0]
            raise BadInput(f"dataset.constraints: {self.text!r} cannot be computed ({reason}): correct it.") from None
        except ZeroDivisionError:
            return False

    def _value(self, node: ast.expr, row: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            column = self.columns[node.id]
            return _operand(row[column.name], column)
        if isinstance(node, ast.BoolOp):
            parts = [partial(self._value, part, row) for part in node.values]
            return _joined(parts, decisive=isinstance(node.op, ast.Or))
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, row)
            return not value if isinstance(node.op, ast.Not) else -value
        if isinstance(node, ast.BinOp):
            return SUMS[type(node.op)](self._value(node.left, row), self._value(node.right, row))
        if isinstance(node, ast.Compare):
            date = next((found for part in ast.walk(node) if (found := self._date(part))), None)
            sides = [node.left, *node.comparators]
            pairs = zip(node.ops, sides[:-1], sides[1:], strict=True)
            return _joined([partial(self._compared, *pair, row, date) for pair in pairs], decisive=False)
        assert isinstance(node, (ast.List, ast.Tuple, ast.Set))
        return [self._value(part, row) for part in node.elts]

    def _compared(
        self, sign: ast.cmpop, left: ast.expr, right: ast.expr, row: Mapping[str, Any], date: Column | None
    ) -> bool:
        first, second = (_as_date(self._value(side, row), date) for side in (left, right))
        return bool(COMPARISONS[type(sign)](first, second))

    def _date(self, node: ast.AST) -> Column | None:
        column = self.columns.get(node.id) if isinstance(node, ast.Name) else None
        return column if column is not None and column.kind == "datetime" else None


def _joined(parts: Sequence[Callable[[], Any]], *, decisive: bool) -> bool:
    """The first decisive part decides, a true one of `or` or a false one of `and`; if there is none, an empty cell."""
    is_empty = False
    for part in parts:
        try:
            if bool(part()) is decisive:
                return decisive
        except _Empty:
            is_empty = True
    if is_empty:
        raise _Empty
    return not decisive


def _operand(value: Any, column: Column) -> Any:
    if pd.isna(value):
        raise _Empty
    if column.kind == "datetime":
        return pd.to_datetime(value, format=column.datetime_format).timestamp()
    return float(value) if column.is_numeric else value


def _as_date(value: Any, date: Column | None) -> Any:
    if date is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, list):
        return [_as_date(part, date) for part in value]
    return pd.to_datetime(value, format=date.datetime_format).timestamp()


def _may_be(value: Any, column: Column) -> bool:
    if column.kind in DISCRETE_KINDS:
        return value in list(map(column.stored, column.categories))
    return column.kind == "datetime" or isinstance(value, str) == (column.kind == "text")


def _domain(column: Column) -> str:
    """What a column may be, in words."""
    if column.kind not in DISCRETE_KINDS:
        return "a text" if column.kind == "text" else "a number"
    values = [repr(column.stored(text)) for text in column.categories]
    return ", ".join([*values[:SHOWN], *(["…"] if len(values) > SHOWN else [])])


def broken(table: pd.DataFrame, schema: Schema) -> dict[str, int]:
    """How many rows break each rule that any row breaks."""
    constraints = [Constraint.of(text, schema) for text in schema.constraints]
    if not constraints:
        return {}
    rows = table.to_dict("records")
    counts = {constraint.text: sum(not constraint.holds(row) for row in rows) for constraint in constraints}
    return {text: count for text, count in counts.items() if count}
