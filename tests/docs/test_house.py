"""What README and docs/house.md say of the rooms is what there is."""

from __future__ import annotations

import importlib.util
import re

from pages import ROOT

HOUSE = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
ENTRIES = {
    path.name
    for path in (ROOT / "declutch").iterdir()
    if (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem != "__init__")
}


def test_the_order_of_imports_is_the_one_that_is_tested() -> None:
    spec = importlib.util.spec_from_file_location("layering", ROOT / "tests" / "test_layering.py")
    layering = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layering)
    listed = re.findall(r"^\d+\. ((?:`\w+`(?:, )?)+)$", HOUSE, flags=re.MULTILINE)
    found = [tuple(re.findall(r"`(\w+)`", line)) for line in listed]
    assert [set(rooms) for rooms in found] == [set(rooms) for rooms in layering.ORDER]


def test_the_table_of_rooms_names_every_entry_of_the_package() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", HOUSE, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+(?:/|\.py))`", row)}
    assert {name.removesuffix("/") for name in named} >= ENTRIES


def test_the_tree_in_the_readme_names_every_entry_of_the_package() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text.partition("```\ndeclutch/\n")[2].partition("```")[0]
    assert set(re.findall(r"\w+\.py|(?<=^  )\w+(?=/ )", tree, flags=re.MULTILINE)) == ENTRIES
