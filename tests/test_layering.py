"""Imports follow the direction of flow; a room knows nothing of what comes after it."""

import ast
from pathlib import Path

import declutch

ROOT = Path(declutch.__file__).parent
FOUNDATION = {"records", "errors", "files", "config", "config_files"}
ROOMS = {
    "envs": set(),
    "agent": {"envs"},
    "rollout": {"envs", "agent"},
    "judge": {"envs", "agent", "rollout", "endpoint", "policy", "streams"},
    "credit": set(),
    "learner": set(),
    "endpoint": set(),
    "serve": {"rollout", "policy"},
    "compare": {
        *("learner", "report", "results", "summary", "stats", "tables", "progress"),
        *("run_folder", "stages", "suites"),
    },
    "report": {"results", "judgments", "summary", "stats", "tables", "behaviour", "metrics"},
}
FOUNDATION_MAY_USE: dict[str, set[str]] = {
    "records": set(),
    "errors": set(),
    "files": {"errors"},
    "config": {"errors"},
    "config_files": {"errors", "config"},
}


def imported(path: Path) -> set[str]:
    """First parts below `declutch` of everything a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "declutch":
                names = [f"declutch.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("declutch.")}
    return found


def test_every_room_is_named() -> None:
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(ROOMS)


def test_rooms_import_only_what_comes_before_them() -> None:
    for room, allowed in ROOMS.items():
        for path in (ROOT / room).rglob("*.py"):
            beyond = imported(path) - allowed - FOUNDATION - {room, "__version__"}
            assert not beyond, f"{path.relative_to(ROOT)} imports {sorted(beyond)}"


def test_the_foundation_stands_alone() -> None:
    for module, allowed in FOUNDATION_MAY_USE.items():
        assert imported(ROOT / f"{module}.py") <= allowed


def test_credit_and_learner_do_not_know_each_other() -> None:
    for room, other in (("credit", "learner"), ("learner", "credit")):
        for path in (ROOT / room).rglob("*.py"):
            assert other not in imported(path)
