"""Imports follow the direction of flow: a room knows nothing of what comes after it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import declutch

ROOT = Path(declutch.__file__).parent

ORDER = (
    ("ground",),
    ("records",),
    ("config",),
    ("envs", "models", "credit"),
    ("agent", "learner"),
    ("rollout",),
    ("endpoint",),
    ("cold_start", "judge"),
    ("evaluation", "cluster"),
    ("runs",),
    ("train", "report"),
    ("compare", "coupling"),
    ("cli",),
)
"""Rooms and files of the package, first to last. A module imports what stands in earlier lines and
what its own room holds, and nothing else; rooms of one line do not know each other."""

SEES_ALL_SETTINGS = (
    "config",
    "cluster",
    "cold_start.pipeline",
    "judge.round",
    "judge.tasks",
    "judge.value_head",
    "rollout.policy",
    "rollout.groups",
    "runs.claims",
    "runs.folder",
    "runs.trackers",
    "train",
    "compare",
    "coupling.over_training",
    "cli",
)
"""Rooms and modules that may take the whole `Config`; every other takes its own section."""

LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
MODULES = sorted(ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    """The name below `declutch`: "credit.grpo", "credit", and "" for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module or name of the package that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("declutch."):
                yield name.removeprefix("declutch.")


def is_below(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def test_the_order_names_everything_there_is() -> None:
    found = {
        path.stem
        for path in ROOT.iterdir()
        if (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem != "__init__")
    }
    assert found == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_what_comes_before_it(path: Path) -> None:
    room = module_name(path).split(".")[0]
    if not room:  # The package offers public names of all rooms.
        return
    for name in imports(path):
        other = name.split(".")[0]
        is_earlier = other == "__version__" or LEVEL[other] < LEVEL[room]
        assert other == room or is_earlier, f"{module_name(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_the_whole_settings_are_seen_by_few(path: Path) -> None:
    name = module_name(path)
    if "config.run.Config" in imports(path) and name:
        assert is_below(name, SEES_ALL_SETTINGS), f"{name} takes the whole Config"


def test_no_circle() -> None:
    names = {module_name(path): path for path in MODULES}
    graph = {
        name: {
            target
            for imported in imports(path)
            for target in (imported, imported.rpartition(".")[0])
            if target in names and target != name
        }
        for name, path in names.items()
        if name
    }
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in finished:
            for target in sorted(graph.get(name, ())):
                visit(target, (*trail, name))
            finished.add(name)

    for name in sorted(graph):
        visit(name, ())
