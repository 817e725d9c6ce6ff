"""Which units take part, by an expression on the columns of their table, such as

    quality == 'good' and presence_ratio > 0.9

Names of columns, numbers, texts, lists, comparisons (also chained), `in`, `and`, `or`, `not`: nothing else is
evaluated. Names that are no words of a program stand between backticks: `Amplitude Cutoff` < 0.1.
"""

import ast
import operator
import re
from collections.abc import Callable

import numpy as np

from pipeline.errors import InputError

KEY = "neural.unit_filter"
COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
EXAMPLE = "quality == 'good' and presence_ratio > 0.9"


def excluded_by(
    expression: str, *, column: Callable[[str], np.ndarray], names: list[str], n_rows: int, where: str
) -> list[str]:
    """Why each row does not pass, "" if it does: the first part of the expression that is false, with the row's values.

    `column` gives the values of a column of `names`, Shape (n_rows,): numbers, bool, or objects that are texts.

    Raises InputError for anything that is not such an expression, unknown columns, and texts compared with numbers.
    """
    tree, original = _parsed(expression)
    evaluation = _Evaluation(column, names, original, where)
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    reasons = [""] * n_rows
    for part in parts:
        passed = evaluation.truth(part)
        used = sorted({original(node.id) for node in ast.walk(part) if isinstance(node, ast.Name)})
        for row in np.flatnonzero(~passed):
            if not reasons[row]:
                values = ", ".join(f"{name} {evaluation.value(name)[row]}" for name in used)
                reasons[row] = f"{KEY}: not {_source(part, original)} ({values})"
    return reasons


class _Evaluation:
    def __init__(self, column, names, original, where):
        self._column, self._names, self._original, self._where = column, names, original, where
        self._known: dict[str, np.ndarray] = {}

    def value(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise InputError(
                f"{KEY}: no such column", where=self._where, found=name, allowed=self._names or "the table has none"
            )
        if name not in self._known:
            self._known[name] = self._column(name)
        return self._known[name]

    def truth(self, node: ast.expr) -> np.ndarray:
        """Whether each row passes. Shape (n_rows,), bool."""
        if isinstance(node, ast.BoolOp):
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return join.reduce([self.truth(part) for part in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return np.logical_and.reduce([self._compared(*pair) for pair in pairs])
        if isinstance(node, ast.Name):
            values = self.value(self._original(node.id))
            if values.dtype == bool:
                return values
            raise InputError(
                f"{KEY}: this column is neither true nor false",
                where=self._where,
                found=f"{self._original(node.id)} ({_kind(values)}s such as {values[:1].tolist()})",
                mend="compare it with a value",
            )
        raise _not_understood(_source(node, self._original))

    def _compared(self, left: ast.expr, how: ast.cmpop, right: ast.expr) -> np.ndarray:
        one, other = self._operand(left), self._operand(right)
        text = f"{_source(left, self._original)} with {_source(right, self._original)}"
        if isinstance(how, ast.In | ast.NotIn):
            if not isinstance(other, list) or not isinstance(one, np.ndarray):
                raise _not_understood(f"{text} (a column in a list: quality in ['good', 'mua'])")
            for item in other:
                self._check_kinds(one, item, text)
            found = np.isin(one, np.array(other, dtype=one.dtype if one.dtype == object else None))
            return ~found if isinstance(how, ast.NotIn) else found
        if isinstance(one, list) or isinstance(other, list) or type(how) not in COMPARISONS:
            raise _not_understood(text)
        if not isinstance(one, np.ndarray) and not isinstance(other, np.ndarray):
            raise _not_understood(f"{text} (no column in it)")
        self._check_kinds(one, other, text)
        return np.asarray(COMPARISONS[type(how)](one, other), bool)

    def _operand(self, node: ast.expr):
        if isinstance(node, ast.Name):
            return self.value(self._original(node.id))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return -self._operand(node.operand)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
            return node.value
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self._operand(item) for item in node.elts]
        raise _not_understood(_source(node, self._original))

    def _check_kinds(self, one, other, text: str) -> None:
        kinds = _kind(one), _kind(other)
        if kinds[0] != kinds[1] and "text" in kinds:
            raise InputError(
                f"{KEY}: cannot compare a {kinds[0]} with a {kinds[1]}",
                where=self._where,
                found=f"{text} ({', '.join(str(v[:3].tolist()) for v in (one, other) if isinstance(v, np.ndarray))})",
                mend="texts stand between quotation marks, numbers do not",
            )


def _kind(value) -> str:
    if isinstance(value, np.ndarray):
        return "text" if value.dtype == object else "number"
    return "text" if isinstance(value, str) else "number"


def _parsed(expression: str) -> tuple[ast.expr, Callable[[str], str]]:
    """Syntax tree, and a function from names in it to columns (names in backticks are replaced to be parsed)."""
    quoted: dict[str, str] = {}

    def replaced(match: re.Match) -> str:
        return quoted.setdefault(match[1], f"column_{len(quoted)}__")

    plain = re.sub(r"`([^`]+)`", replaced, expression)
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _not_understood(expression) from error
    back = {stand_in: name for name, stand_in in quoted.items()}
    return tree, lambda name: back.get(name, name)


def _source(node: ast.expr, original: Callable[[str], str]) -> str:
    return re.sub(r"column_\d+__", lambda match: f"`{original(match[0])}`", ast.unparse(node))


def _not_understood(text: str) -> InputError:
    return InputError(
        f"{KEY}: not an expression on the columns of the units table", where=KEY, found=text, allowed=EXAMPLE
    )
