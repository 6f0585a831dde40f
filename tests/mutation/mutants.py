"""Small faults in a module's source, one at a time: the mutants that tests have to notice.

A mutant changes one place of the syntax tree: a comparison, an arithmetic or boolean operator, a
constant (defaults of parameters and fields are constants, too), a condition, a statement that is
dropped, or a call of `min`, `any` and the like that becomes its opposite. What nobody computes with
is left alone: docstrings, the words of errors, annotations and the like, and `strict=` of `zip`,
which guards against what cannot happen.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
OPPOSITES = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "minimum": "maximum",
    "maximum": "minimum",
    "ceil": "floor",
    "floor": "ceil",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "zeros": "ones",
    "ones": "zeros",
}


@dataclass(frozen=True)
class Mutant:
    """One changed place of a module.

    Attributes:
        where: the function or class around it, "" at the top of the module.
        before, after: the changed piece of source.
        number: tells apart mutants of one function with the same change, from 0.
        line: of the changed place.
        place, change: which place of the tree, and which of its changes.
    """

    where: str
    before: str
    after: str
    number: int
    line: int
    place: int
    change: int

    @property
    def key(self) -> str:
        """What it is known by in the list of equivalent mutants; no line number, so it lasts."""
        suffix = f" #{self.number}" if self.number else ""
        return f"{self.where}: {self.before} => {self.after}{suffix}"


def find_mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its source."""
    counts: dict[tuple[str, str, str], int] = {}
    found = []
    for place, (where, holder) in enumerate(_places(ast.parse(source))):
        before = _show(holder)
        for change in range(len(_changes(holder))):
            copied = _Holder(copy.deepcopy(holder.parent), holder.field, holder.index)
            _changes(copied)[change](copied)
            after = _show(copied)
            if before != after:
                number = counts.setdefault((where, before, after), 0)
                counts[where, before, after] += 1
                found.append(Mutant(where, before, after, number, holder.lineno, place, change))
    return found


def apply_mutant(source: str, mutant: Mutant) -> ast.Module:
    """The module's syntax tree with the mutant in it."""
    tree = ast.parse(source)
    holder = list(_places(tree))[mutant.place][1]
    _changes(holder)[mutant.change](holder)
    return ast.fix_missing_locations(tree)


@dataclass
class _Holder:
    """A place in the tree: a field of a node, or one element of it."""

    parent: ast.AST
    field: str
    index: int | None

    @property
    def node(self) -> ast.AST:
        value = getattr(self.parent, self.field)
        return value if self.index is None else value[self.index]

    @node.setter
    def node(self, new: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, new)
        else:
            getattr(self.parent, self.field)[self.index] = new

    @property
    def lineno(self) -> int:
        return getattr(self.node, "lineno", 0)


def _places(tree: ast.Module) -> Iterator[tuple[str, _Holder]]:
    yield from _walk(tree, "")


def _walk(node: ast.AST, where: str) -> Iterator[tuple[str, _Holder]]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        where = f"{where}.{node.name}" if where else node.name
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_params", "decorator_list", "bases"):
            continue
        if isinstance(node, ast.Raise):
            continue
        items = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in items:
            if not isinstance(child, ast.AST) or _is_text(node, child):
                continue
            holder = _Holder(node, field, index)
            yield where, holder
            yield from _walk(child, where)


def _is_text(parent: ast.AST, child: ast.AST) -> bool:
    """Docstrings, words inside f-strings, imports, and type aliases are no computation."""
    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
        return True
    if isinstance(child, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(parent, ast.JoinedStr) and isinstance(child, ast.Constant):
        return True
    if isinstance(child, ast.keyword) and child.arg == "strict":
        return True
    if not (isinstance(parent, ast.Module) and isinstance(child, ast.Assign)):
        return False
    value = child.value
    is_type_variable = isinstance(value, ast.Call) and ast.unparse(value.func) == "TypeVar"
    return is_type_variable or isinstance(value, ast.Subscript)


def _changes(holder: _Holder) -> list:
    """Functions that change the holder's node in place, one for each mutant."""
    node = holder.node
    if isinstance(node, ast.Compare):
        return [_swap_comparison(i) for i, op in enumerate(node.ops) if type(op) in COMPARISONS]
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        found = [_swap_operator]
        return [*found, _drop] if isinstance(node, ast.AugAssign) else found
    if isinstance(node, ast.BoolOp):
        return [_swap_boolean]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        return [_drop_unary]
    if isinstance(node, ast.Constant):
        return [_change_constant] if _is_changeable(node.value) else []
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        if isinstance(node, ast.While):
            return []
        return [_set_condition(True), _set_condition(False)]
    if isinstance(node, ast.comprehension):
        return [_drop_filter] if node.ifs else []
    if isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Yield)):
        return [_drop]
    if isinstance(node, (ast.Continue, ast.Break, ast.Raise)):
        return [_drop]
    if isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple)):
        return [_drop]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in OPPOSITES:
        return [_swap_name]
    if isinstance(node, ast.Attribute) and node.attr in OPPOSITES:
        return [_swap_attribute]
    return []


def _is_changeable(value: object) -> bool:
    return isinstance(value, (bool, int, float, str))


def _swap_comparison(index: int):
    def change(holder: _Holder) -> None:
        ops = holder.node.ops
        ops[index] = COMPARISONS[type(ops[index])]()

    return change


def _swap_operator(holder: _Holder) -> None:
    holder.node.op = OPERATORS[type(holder.node.op)]()


def _swap_boolean(holder: _Holder) -> None:
    node = holder.node
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _drop_unary(holder: _Holder) -> None:
    holder.node = holder.node.operand


def _change_constant(holder: _Holder) -> None:
    value = holder.node.value
    if isinstance(value, bool):
        new = not value
    elif isinstance(value, str):
        new = f"XX{value}"
    else:
        new = value + 1
    holder.node = ast.copy_location(ast.Constant(new), holder.node)


def _set_condition(value: bool):
    def change(holder: _Holder) -> None:
        holder.node.test = ast.copy_location(ast.Constant(value), holder.node.test)

    return change


def _drop_filter(holder: _Holder) -> None:
    holder.node.ifs = []


def _drop(holder: _Holder) -> None:
    holder.node = ast.copy_location(ast.Pass(), holder.node)


def _swap_name(holder: _Holder) -> None:
    holder.node.id = OPPOSITES[holder.node.id]


def _swap_attribute(holder: _Holder) -> None:
    holder.node.attr = OPPOSITES[holder.node.attr]


def _show(holder: _Holder) -> str:
    """The piece of source around the change: its first line, with the parent of a bare constant."""
    node = holder.node
    if isinstance(node, ast.Constant) and isinstance(holder.parent, ast.expr | ast.keyword):
        node = holder.parent
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}"
    if isinstance(node, ast.comprehension):
        return ast.unparse(node).strip()
    return " ".join(ast.unparse(node).split())[:160]
