"""Which mechanics a game file states: a normal form of its PDDL domain.

`dynamics.py` hard-codes the official domain, so a file may be played only if it states the same
one. Formatting, comments, the order of conjuncts and costs are no part of it; all else is.
"""

from __future__ import annotations

from typing import Any

from declutch.envs.alfworld.pddl import (
    MALFORMED,
    Form,
    GameFileError,
    fingerprint,
    parse_lisp,
    parse_typed_list,
)

OFFICIAL_DOMAIN = "c8ccc8cdb165579d43633f67483314a3f00c97fd7fc6b33d8478cb2fbe0d0272"
"""SHA-256 of the normal form of the domain that all games of the official json_2.1.1 release
(ALFWorld 0.4) share."""

_TRUE: Form = ("and",)
_FALSE: Form = ("or",)


def fingerprint_domain(text: str) -> str:
    """Hash a domain, ALFWorld's mechanics, in normal form. Raises GameFileError."""
    return fingerprint(normalize_domain(text))


def normalize_domain(text: str) -> Form:
    """Bring an ALFWorld game's domain into normal form: actions by name, parts in a fixed order.

    Raises:
        GameFileError: the text is no domain, or uses what the official domain does not.
    """
    try:
        return _normalize_domain(parse_lisp(text))
    except MALFORMED as error:
        raise GameFileError(f"its PDDL domain is malformed ({error})") from error


def _normalize_domain(parts: list[Any]) -> Form:
    sections = [part for part in parts if isinstance(part, list) and part]
    types = {"object"}
    for part in sections:
        if part[0] == ":types":
            declared = parse_typed_list(part[1:])
            types.update(name for name, _ in declared)
    if any(part[0] in (":derived", ":axiom", ":constants") for part in sections):
        raise GameFileError("it has derived predicates or constants")
    hierarchy = sorted(
        pair
        for part in sections
        if part[0] == ":types"
        for pair in parse_typed_list(part[1:])
        if pair[1] != "object"
    )
    actions = [_normalize_action(part, types) for part in sections if part[0] == ":action"]
    return (tuple(hierarchy), tuple(sorted(actions)))


def _normalize_action(part: list[Any], types: set[str]) -> Form:
    name = part[1]
    fields = dict(zip(part[2::2], part[3::2], strict=True))
    parameters = tuple(sorted(parse_typed_list(fields.get(":parameters", []))))
    condition = _normalize_condition(fields.get(":precondition", []), types, {})
    effects = tuple(sorted(_collect_effects(fields.get(":effect", []), types), key=repr))
    return (name, parameters, condition, effects)


def _normalize_condition(form: list[Any], types: set[str], names: dict[str, str]) -> Form:
    if not form:
        return _TRUE
    head, rest = form[0], form[1:]
    if head in ("and", "or"):
        return _join_conditions(head, [_normalize_condition(each, types, names) for each in rest])
    if head == "not":
        return ("not", _normalize_condition(rest[0], types, names))
    if head in ("exists", "forall"):
        return _normalize_quantifier(head, rest, types, names)
    if head in ("imply", "="):
        raise GameFileError(f"it uses '{head}', which the official domain does not")
    return (head, *(names.get(word, word) for word in rest))


def _join_conditions(head: str, children: list[Form]) -> Form:
    """Flatten, drop neutral parts, and order; a single part stands for itself."""
    flat: list[Form] = []
    for child in children:
        flat += child[1:] if child[0] == head else [child]
    absorbing = _FALSE if head == "and" else _TRUE
    if absorbing in flat:
        return absorbing
    unique = sorted(set(flat), key=repr)
    return unique[0] if len(unique) == 1 else (head, *unique)


def _normalize_quantifier(
    head: str, rest: list[Any], types: set[str], names: dict[str, str]
) -> Form:
    variables = sorted(parse_typed_list(rest[0]), key=lambda pair: pair[1])
    if any(kind not in types for _, kind in variables):
        # Nothing is of an undeclared type, so nothing exists and all of nothing holds. The
        # official domain relies on it: a stray comma makes one of its branches unreachable.
        return _FALSE if head == "exists" else _TRUE
    renamed = {old: f"?bound{len(names) + i}" for i, (old, _) in enumerate(variables)}
    body = _normalize_condition(rest[1], types, {**names, **renamed})
    kinds = tuple((renamed[old], kind) for old, kind in variables)
    return (head, kinds, body)


def _collect_effects(form: list[Any], types: set[str]) -> list[Form]:
    if not form or form[0] == "increase":
        return []  # Costs matter to planners only.
    if form[0] == "and":
        return [effect for part in form[1:] for effect in _collect_effects(part, types)]
    if form[0] == "when":
        condition = _normalize_condition(form[1], types, {})
        return [("when", condition, each) for each in _collect_effects(form[2], types)]
    if form[0] == "not":
        return [("not", tuple(form[1]))]
    if form[0] == "forall":
        raise GameFileError("it has a quantified effect, which the official domain has not")
    return [tuple(form)]
