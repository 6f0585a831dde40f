"""Contents of files become a value or one line that says what is wrong, whatever they are."""

import json
import math
from dataclasses import dataclass, field

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from declutch.ground.contents import (
    MAX_DEPTH,
    MAX_YAML_NODES,
    parse_json,
    parse_record,
    parse_yaml,
    read_text,
)
from declutch.ground.errors import UserError


@dataclass(frozen=True)
class Inner:
    name: str
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    label: int | None = None
    kinds: dict[str, int] = field(default_factory=dict)


WHOLE = '{"count": 3, "inner": {"name": "a", "values": [1, 2.5]}, "kinds": {"x": 1}}'


def is_one_line(error: Exception) -> bool:
    return bool(str(error)) and "\n" not in str(error)


def test_a_text_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("grün\r\n".encode())
    assert read_text(path) == "grün\r\n"
    path.write_bytes(b"ab\xffc")
    with pytest.raises(UserError, match="the notes is damaged: byte 2 is not UTF-8 text"):
        read_text(path, "the notes")
    with pytest.raises(UserError, match=r"cannot read .*absent: No such file"):
        read_text(tmp_path / "absent")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match=r"cannot read .*loop"):
        read_text(tmp_path / "loop")
    with pytest.raises(UserError, match="cannot read"):
        read_text(tmp_path)


def test_json_is_parsed():
    assert parse_json(WHOLE) == json.loads(WHOLE)
    assert parse_json(WHOLE.encode()) == json.loads(WHOLE)
    assert parse_json('"\\ud83d\\ude00"') == "😀"
    assert math.isnan(parse_json("[NaN]")[0])
    assert parse_json('[NaN, 1e999, "\\ud800", 3]', is_lenient=True) == [None, None, "?", 3]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting"),
        (b"\xff", "not UTF-8"),
        ("[" * 100_000, "nested deeper"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested deeper"),
        ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "nested deeper"),
        ('["\\ud800"]', "half of a character"),
        ('{"\\udfff": 1}', "half of a character"),
        ("1" * 5000, "Exceeds the limit"),
        ("[" + "1" * 200 + "]", "more than 100 digits"),
        ('["a\tb"]', "Invalid control character"),
    ],
)
def test_json_that_breaks_things_is_one_line(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text)
    assert is_one_line(caught.value)


def test_a_record_is_parsed():
    assert parse_record(Outer, WHOLE) == Outer(3, Inner("a", (1.0, 2.5)), None, {"x": 1})
    assert isinstance(parse_record(Outer, WHOLE).inner, Inner)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (WHOLE.replace("3", '"3"'), "count"),
        (WHOLE.replace("3", "3.5"), "count"),
        (WHOLE.replace("3", "true"), "count"),
        (WHOLE.replace('"a"', "null"), "inner.name"),
        (WHOLE.replace("2.5", "[]"), "inner.values.1"),
        (WHOLE.replace('"kinds"', '"kind"'), "kind"),
        (WHOLE.replace('"count"', '"cout"'), "cout"),
        (WHOLE.replace('"a"', '"\\ud800"'), "hex escape|surrogate"),
        ("[]", "dictionary|object"),
        ("[" * 100_000, "recursion"),
        (b"\xff\xfe", "JSON"),
        ("", "EOF"),
    ],
)
def test_a_record_with_another_field_or_type_is_one_line(text, place):
    with pytest.raises(ValueError, match=place) as caught:
        parse_record(Outer, text)
    assert is_one_line(caught.value)


def test_yaml_is_parsed():
    text = "a: &x {b: 1, c: [2, .5, null, true]}\nd: *x\ne: {<<: *x, f: 2}\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None


BOMB = "a0: &a0 [1, 2]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "expected"),
        ("[" * 5000, "nested deeper"),
        ("a: " + "[" * 70 + "]" * 70, "nested deeper"),
        ("a: &a [*a]", "more than|nested deeper"),
        (BOMB, f"more than {MAX_YAML_NODES}"),
        ("1: 2", "1 stands where the name"),
        ("null: 2", "None stands where the name"),
        ("? [a]\n: 2", "unhashable"),
        ("a: 2020-01-01", "put it in quotes"),
        ("a: 2020-99-99", "month"),
        ("a: !!binary x", "base64"),
        ("a: !!int x", "invalid literal"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: !!set {b, c}", "set is no value"),
        ('a: "\\ud800"', "half of a character"),
        ("a: .nan", "nan is no value"),
        ("a: \x00", "not allowed"),
        ("a: " + "9" * 200, "more than 100 digits"),
        ("#" * 1_000_001, "more than 1000000"),
    ],
)
def test_yaml_that_breaks_things_is_one_line(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_yaml(text)
    assert is_one_line(caught.value)


def test_merge_keys_cannot_grow_without_bound():
    try:
        assert parse_yaml(MERGES)["a29"] == {"x": 1}
    except ValueError as error:
        assert f"more than {MAX_YAML_NODES}" in str(error)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(lambda text: text.encode())))
def test_any_bytes_are_a_value_or_one_line(content):
    for parse in (parse_json, lambda each: parse_record(Outer, each)):
        try:
            parse(content)
        except ValueError as error:
            assert is_one_line(error)
    try:
        parse_yaml(content.decode("utf-8", "replace"))
    except ValueError as error:
        assert is_one_line(error)


@pytest.mark.parametrize("before", ["", " " * 49, "x" * 77])
@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", "2E+400 ", '"\\uDcff"', "9" * 101])
def test_what_has_to_be_looked_at_is_found_wherever_it_stands(text, before):
    """Each of them is told or made harmless; a digest that looks like one is left alone."""
    found = f'{{"text": "{before}5e472ab", "value": [1, {text}]}}'
    if text.startswith("9"):
        with pytest.raises(ValueError, match="100 digits"):
            parse_json(found, is_lenient=True)
    else:
        value = {'"\\uDcff"': "?"}.get(text)
        assert parse_json(found, is_lenient=True) == {
            "text": f"{before}5e472ab",
            "value": [1, value],
        }
