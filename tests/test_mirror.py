"""The tests mirror the tree: what tests a module stands where the module stands."""

from pathlib import Path

import pytest

import declutch

PACKAGE = Path(declutch.__file__).parent
TESTS = Path(__file__).parent

APART = {
    "benchmarks": "the scripts in benchmarks/ at their smallest size",
    "docs": "what README and the pages in docs/ say",
    "golden": "texts that prompts have to equal",
    "journeys": "commands and runs that cross several rooms",
    "mutation": "the script that tries small faults in the code, which tests have to notice",
    "oracles": "slow and obvious versions of what the package does fast",
    "packaging": "the files that make a distribution of the package",
    "peers": "comparisons with other projects' functions",
    "support": "builders and fakes",
}
"""Folders of the tests that mirror no room, and what each holds."""

OF_THE_WHOLE = {"test_layering", "test_mirror", "test_public_names"}
"""Tests at the root that are about the package as a whole."""

FILES = sorted(
    path
    for path in TESTS.rglob("test_*.py")
    if path.relative_to(TESTS).parts[0] not in APART and path.stem not in OF_THE_WHOLE
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_stands_where_its_module_stands(path: Path) -> None:
    """tests/ROOM/test_MODULE.py tests declutch/ROOM/MODULE.py; test_MODULE_ASPECT.py a part."""
    room = PACKAGE / path.relative_to(TESTS).parent
    name = path.stem.removeprefix("test_")
    modules = {each.stem for each in room.glob("*.py")} - {"__init__"}
    packages = {each.name for each in room.iterdir() if (each / "__init__.py").exists()}
    known = modules | packages
    assert any(name == each or name.startswith(f"{each}_") for each in known), (
        f"{path.relative_to(TESTS)} tests nothing of {sorted(known)}"
    )


def test_oracles_and_support_hold_no_tests() -> None:
    for folder in ("oracles", "support", "golden"):
        assert not list((TESTS / folder).rglob("test_*.py"))
