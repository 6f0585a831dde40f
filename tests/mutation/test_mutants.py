"""The faults that are put into a module: which there are, and that each is one."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("mutants", Path(__file__).with_name("mutants.py"))
mutants = importlib.util.module_from_spec(_SPEC)
sys.modules["mutants"] = mutants
_SPEC.loader.exec_module(mutants)

SOURCE = '''"""A module."""
from typing import TypeVar
T = TypeVar("T")
LIMIT = 3

class Record:
    """Its docstring."""
    count: int = 0

    def grow(self, by: float = 1.5, *, is_new=False) -> int | None:
        """Another."""
        if by > LIMIT and not is_new:
            raise ValueError(f"by is {by}, not {1 + LIMIT}")
        self.count += int(by)
        return max(x for x in (1, self.count) if x)
'''


def test_every_kind_of_change_is_there() -> None:
    assert [mutant.key for mutant in mutants.find_mutants(SOURCE)] == [
        ": 3 => 4",
        "Record: 0 => 1",
        "Record.grow: False => True",
        "Record.grow: 1.5 => 2.5",
        "Record.grow: if by > LIMIT and (not is_new) => if True",
        "Record.grow: if by > LIMIT and (not is_new) => if False",
        "Record.grow: by > LIMIT and (not is_new) => by > LIMIT or not is_new",
        "Record.grow: by > LIMIT => by >= LIMIT",
        "Record.grow: not is_new => is_new",
        "Record.grow: raise ValueError(f'by is {by}, not {1 + LIMIT}') => pass",
        "Record.grow: self.count += int(by) => self.count -= int(by)",
        "Record.grow: self.count += int(by) => pass",
        "Record.grow: max => min",
        "Record.grow: for x in (1, self.count) if x => for x in (1, self.count)",
        "Record.grow: (1, self.count) => (2, self.count)",
    ]


def test_a_mutant_is_the_module_with_this_change_alone() -> None:
    original = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in mutants.find_mutants(SOURCE):
        tree = mutants.apply_mutant(SOURCE, mutant)
        changed = ast.unparse(tree).splitlines()
        compile(tree, "changed.py", "exec")
        assert len(changed) == len(original) or mutant.after == "pass"
        differing = [pair for pair in zip(original, changed, strict=False) if pair[0] != pair[1]]
        assert differing, mutant.key
        assert len(differing) == 1 or mutant.after == "pass", mutant.key
