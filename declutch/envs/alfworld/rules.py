"""Which rules a game file states: a normal form of its domain and of its grammar.

`dynamics.py` and `text.py` hard-code the official rules, so a file may be played only if it states
the same ones. Formatting, comments, the order of conjuncts, costs and whatever the actions cannot
reach are not part of the rules; everything else is.
"""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Iterable
from typing import Any

# A condition or an effect: a nested tuple of strings and tuples, e.g. ("not", ("opened", "?r")).
Form = tuple[Any, ...]

# SHA-256 of the normal forms of the official json_2.1.1 release (ALFWorld 0.4): all its games
# share one domain and, the task's sentence apart, one grammar.
OFFICIAL_DOMAIN = "c8ccc8cdb165579d43633f67483314a3f00c97fd7fc6b33d8478cb2fbe0d0272"
OFFICIAL_GRAMMAR = "5595edd0cb1abff3afbc6f30f70f44e3e4fe9037e2bdcc8807ce8fe27af1c4a6"

TASK_RULE = re.compile(r'("task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*)("(?:[^"\\]|\\.)*")')
_LISP_TOKEN = re.compile(r"[()]|[^\s()]+")
_GRAMMAR_TOKEN = re.compile(r'"""((?:.|\n)*?)"""|"([^"]*)"|(::|[;{}])|([\w/-]+)|\s+|#.*')
_REFERENCE = re.compile(r"#([\w()/!<>\-\s,.]+)#")
# Rules that the engine's list symbol uses without naming them.
_LIST_RULES = ("list_empty", "list_separator", "list_last_separator")
# What walking over a malformed expression raises.
_MALFORMED = (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError)
_TRUE: Form = ("and",)
_FALSE: Form = ("or",)


class RuleError(Exception):
    """The text is not a domain or grammar at all; the message says why."""


def fingerprint_domain(text: str) -> str:
    """SHA-256 of a PDDL domain's normal form. Raises RuleError where it cannot be read."""
    return _hash(normalize_domain(text))


def fingerprint_grammar(text: str) -> str:
    """SHA-256 of a grammar's normal form, without its task. Raises RuleError likewise."""
    return _hash(normalize_grammar(text))


def _hash(form: object) -> str:
    return hashlib.sha256(repr(form).encode()).hexdigest()


def parse_lisp(text: str) -> list[Any]:
    """Nested lists of lower-case words; ";" starts a comment. Raises RuleError if unbalanced."""
    text = re.sub(r";[^\n]*", "", text).lower()
    stack: list[list[Any]] = [[]]
    for token in _LISP_TOKEN.findall(text):
        if token == "(":
            stack.append([])
        elif token == ")":
            if len(stack) == 1:
                raise RuleError("a closing parenthesis too many")
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    if len(stack) != 1 or len(stack[0]) != 1:
        raise RuleError("an unbalanced or empty expression")
    return list(stack[0][0])


def parse_typed_list(words: Iterable[str]) -> list[tuple[str, str]]:
    """`a b - t c` as [("a", "t"), ("b", "t"), ("c", "object")]."""
    typed: list[tuple[str, str]] = []
    names: list[str] = []
    iterator = iter(words)
    for word in iterator:
        if word == "-":
            kind = next(iterator, "object")
            typed += [(name, kind) for name in names]
            names = []
        else:
            names.append(word)
    return typed + [(name, "object") for name in names]


def normalize_domain(text: str) -> Form:
    """Actions by name, each with parameters, precondition and effects in canonical order.

    Raises:
        RuleError: the text is no domain, or uses what the official rules do not.
    """
    try:
        return _normalize_domain(parse_lisp(text))
    except _MALFORMED as error:
        raise RuleError(f"its PDDL domain is malformed ({error})") from error


def _normalize_domain(parts: list[Any]) -> Form:
    sections = [part for part in parts if isinstance(part, list) and part]
    types = {"object"}
    for part in sections:
        if part[0] == ":types":
            declared = parse_typed_list(part[1:])
            types.update(name for name, _ in declared)
    if any(part[0] in (":derived", ":axiom", ":constants") for part in sections):
        raise RuleError("it has derived predicates or constants")
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
        raise RuleError(f"it uses '{head}', which the official rules do not")
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
        raise RuleError("it has a quantified effect, which the official rules do not")
    return [tuple(form)]


def split_task(grammar: str) -> tuple[str, str]:
    """The task's sentence, and the grammar without it. Raises RuleError if there is not just one.

    The sentence must be plain text: symbols of the grammar in it would be expanded by the
    official engine.
    """
    match = TASK_RULE.search(grammar)
    if match is None or TASK_RULE.search(grammar, match.end()):
        raise RuleError("it does not state exactly one task")
    try:
        task = json.loads(match[2], strict=False)
    except json.JSONDecodeError as error:
        raise RuleError(f"its task is not a string ({error})") from error
    if re.search(r'[#{}\[\]|;<>"\\\n\t]', task):
        raise RuleError(f"its task is not plain text: {task!r}")
    return task, f'{grammar[: match.start(2)]}""{grammar[match.end(2) :]}'


def normalize_grammar(text: str) -> Form:
    """Actions with template and answer, and every production they or the intro can reach.

    Raises:
        RuleError: the text is no grammar.
    """
    try:
        return _normalize_grammar(*_parse_grammar(text))
    except _MALFORMED as error:
        raise RuleError(f"its grammar is malformed ({error})") from error


def _normalize_grammar(
    rules: dict[str, list[dict[str, str]]], actions: list[tuple[str, ...]]
) -> Form:
    pending = ["intro", *_LIST_RULES]
    for _, _, feedback in actions:
        pending += _REFERENCE.findall(feedback)
    reached: dict[str, Form] = {}
    while pending:
        name = pending.pop()
        if name in reached or name == "task":
            continue
        productions = rules.get(name)
        if not productions:
            raise RuleError(f"it has no rule '{name}'")
        reached[name] = tuple(
            (_squeeze(each.get("condition", "")), _normalize_text(each["rhs"]))
            for each in productions
        )
        for each in productions:
            pending += _REFERENCE.findall(each["rhs"])
    worded = sorted((name, template, _normalize_text(answer)) for name, template, answer in actions)
    return (tuple(worded), tuple(sorted(reached.items())))


def _squeeze(condition: str) -> str:
    return re.sub(r"\s+", "", condition)


def _normalize_text(text: str) -> str:
    """Without what the grammar's reader skips: leading whitespace, and spaces in queries."""
    query = re.compile(r"\{([^{}|]*)\|([^{}]*)\}")
    return query.sub(lambda m: f"{{{m[1].strip()}|{_squeeze(m[2])}}}", text.lstrip())


def _parse_grammar(text: str) -> tuple[dict[str, list[dict[str, str]]], list[tuple[str, ...]]]:
    """Rules by name, and (name, template, feedback) of the actions that the domain has."""
    rules: dict[str, list[dict[str, str]]] = {}
    actions: list[tuple[str, ...]] = []
    tokens = _tokenize_grammar(text)
    position = 0
    fields: dict[str, str] | None = None
    action = ""
    while position < len(tokens):
        kind, value = tokens[position]
        if kind == "word" and value == "action" and fields is None:
            action, fields = tokens[position + 1][1].lower(), {}
            position += 3
        elif kind == "mark" and value == "}" and fields is not None:
            actions.append((action, fields.get("template", ""), fields.get("feedback", "")))
            fields, position = None, position + 1
        elif kind == "word":
            content = _read_field(tokens, position)
            if value == "grammar":
                rules.update(_load_rules(content))
            elif fields is not None:
                fields[value] = content
            position += 4
        else:
            raise RuleError(f"its grammar has a misplaced '{value}'")
    return rules, [each for each in actions if each[0] in _PLAYABLE]


# The actions of the official domain; its grammar words others, which no rule can trigger.
_PLAYABLE = frozenset(
    {
        *("look", "inventory", "help", "examinereceptacle", "examineobject", "gotolocation"),
        *("openobject", "closeobject", "pickupobject", "putobject", "toggleobject"),
        *("cleanobject", "heatobject", "coolobject", "sliceobject"),
    }
)


def _read_field(tokens: list[tuple[str, str]], position: int) -> str:
    field = tokens[position : position + 4]
    if [value for _, value in field[1::2]] != ["::", ";"] or field[2][0] != "text":
        raise RuleError(f"its grammar has an incomplete '{field[0][1]}'")
    return field[2][1]


def _tokenize_grammar(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _GRAMMAR_TOKEN.match(text, position)
        if match is None:
            raise RuleError(f"its grammar cannot be read at {text[position : position + 20]!r}")
        position = match.end()
        block, string, mark, word = match.groups()
        if block is not None:
            tokens.append(("text", textwrap.dedent(block)))
        elif string is not None:
            tokens.append(("text", string))
        elif mark is not None:
            tokens.append(("mark", mark))
        elif word is not None:
            tokens.append(("word", word))
    return tokens


def _load_rules(text: str) -> dict[str, list[dict[str, str]]]:
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    try:
        rules = json.loads("\n".join(lines))
    except json.JSONDecodeError as error:
        raise RuleError(f"its grammar's rules are not JSON ({error})") from error
    if not isinstance(rules, dict):
        raise RuleError("its grammar's rules are not a JSON object")
    return rules
