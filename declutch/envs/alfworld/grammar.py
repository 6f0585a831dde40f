"""Which words a game file gives to actions and answers: a normal form of its grammar.

`text.py` hard-codes the official grammar, so a file may be played only if it states the same one.
The task's sentence, formatting, comments and what the actions cannot reach are no part of it; all
else is.
"""

from __future__ import annotations

import json
import re
import textwrap

from declutch.envs.alfworld.pddl import MALFORMED, Form, GameFileError, fingerprint

OFFICIAL_GRAMMAR = "5595edd0cb1abff3afbc6f30f70f44e3e4fe9037e2bdcc8807ce8fe27af1c4a6"
"""SHA-256 of the normal form of the grammar that all games of the official json_2.1.1 release
(ALFWorld 0.4) share, the task's sentence apart."""

Productions = dict[str, list[dict[str, str]]]
"""The productions of each symbol of a grammar."""

_TASK = re.compile(r'("task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*)("(?:[^"\\]|\\.)*")')
_TOKEN = re.compile(r'"""((?:.|\n)*?)"""|"([^"]*)"|(::|[;{}])|([\w/-]+)|\s+|#.*')
_REFERENCE = re.compile(r"#([\w()/!<>\-\s,.]+)#")
# Symbols that the engine's list symbol uses without naming them.
_LIST_SYMBOLS = ("list_empty", "list_separator", "list_last_separator")
# The actions of the official domain; its grammar words others, which can never be played.
_PLAYABLE = frozenset(
    {
        *("look", "inventory", "help", "examinereceptacle", "examineobject", "gotolocation"),
        *("openobject", "closeobject", "pickupobject", "putobject", "toggleobject"),
        *("cleanobject", "heatobject", "coolobject", "sliceobject"),
    }
)


def fingerprint_grammar(text: str) -> str:
    """Hash an ALFWorld game's grammar in normal form, without its task. Raises GameFileError."""
    return fingerprint(normalize_grammar(text))


def split_task(grammar: str) -> tuple[str, str]:
    """Split the grammar of an ALFWorld game into the task's sentence and the rest.

    The sentence must be plain text: symbols of the grammar in it would be expanded by the
    official engine.

    Raises:
        GameFileError: there is not just one task, or it is not plain text.
    """
    match = _TASK.search(grammar)
    if match is None or _TASK.search(grammar, match.end()):
        raise GameFileError("it does not state exactly one task")
    try:
        task = json.loads(match[2], strict=False)
    except json.JSONDecodeError as error:
        raise GameFileError(f"its task is not a string ({error})") from error
    if re.search(r'[#{}\[\]|;<>"\\\n\t]', task):
        raise GameFileError(f"its task is not plain text: {task!r}")
    return task, f'{grammar[: match.start(2)]}""{grammar[match.end(2) :]}'


def normalize_grammar(text: str) -> Form:
    """Bring an ALFWorld game's grammar into normal form: actions and answers with all their words.

    Raises:
        GameFileError: the text is no grammar.
    """
    try:
        return _normalize_grammar(*_parse_grammar(text))
    except MALFORMED as error:
        raise GameFileError(f"its grammar is malformed ({error})") from error


def _normalize_grammar(productions: Productions, actions: list[tuple[str, ...]]) -> Form:
    pending = ["intro", *_LIST_SYMBOLS]
    for _, _, feedback in actions:
        pending += _REFERENCE.findall(feedback)
    reached: dict[str, Form] = {}
    while pending:
        name = pending.pop()
        if name in reached or name == "task":
            continue
        found = productions.get(name)
        if not found:
            raise GameFileError(f"it has no symbol '{name}'")
        reached[name] = tuple(
            (_squeeze(each.get("condition", "")), _normalize_text(each["rhs"])) for each in found
        )
        for each in found:
            pending += _REFERENCE.findall(each["rhs"])
    worded = sorted((name, template, _normalize_text(answer)) for name, template, answer in actions)
    return (tuple(worded), tuple(sorted(reached.items())))


def _squeeze(condition: str) -> str:
    return re.sub(r"\s+", "", condition)


def _normalize_text(text: str) -> str:
    """Without what the grammar's reader skips: leading whitespace, and spaces in queries."""
    query = re.compile(r"\{([^{}|]*)\|([^{}]*)\}")
    return query.sub(lambda m: f"{{{m[1].strip()}|{_squeeze(m[2])}}}", text.lstrip())


def _parse_grammar(text: str) -> tuple[Productions, list[tuple[str, ...]]]:
    """The productions, and (name, template, feedback) of the actions that the domain has."""
    productions: Productions = {}
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
                productions.update(_load_productions(content))
            elif fields is not None:
                fields[value] = content
            position += 4
        else:
            raise GameFileError(f"its grammar has a misplaced '{value}'")
    return productions, [each for each in actions if each[0] in _PLAYABLE]


def _read_field(tokens: list[tuple[str, str]], position: int) -> str:
    field = tokens[position : position + 4]
    if [value for _, value in field[1::2]] != ["::", ";"] or field[2][0] != "text":
        raise GameFileError(f"its grammar has an incomplete '{field[0][1]}'")
    return field[2][1]


def _tokenize_grammar(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise GameFileError(f"its grammar cannot be read at {text[position : position + 20]!r}")
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


def _load_productions(text: str) -> Productions:
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    try:
        productions = json.loads("\n".join(lines))
    except json.JSONDecodeError as error:
        raise GameFileError(f"its grammar's productions are not JSON ({error})") from error
    if not isinstance(productions, dict):
        raise GameFileError("its grammar's productions are not a JSON object")
    return productions
