"""The files that say what is installed and what runs before a commit agree with pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = [Requirement(line) for line in LINES if not line.startswith("#")]


# They need CUDA, an environment of their own, or convert files once.
UNPINNED = {"bitsandbytes", "cluster", "gguf", "openenv", "verifiers", "vllm"}
# They are tested in environments of their own.
APART = {"wandb", "mlflow", "trackio"}


def requirements(*extras: str) -> list[Requirement]:
    """What the package needs, and what some of its extras need."""
    texts = [*PROJECT["dependencies"]]
    for extra in extras:
        texts += PROJECT["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


def test_the_lock_holds_exact_versions_and_nothing_else() -> None:
    assert len(PINS) > 100
    for pin in PINS:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert pin.url is None
        assert not pin.extras
    names = [canonicalize_name(pin.name) for pin in PINS]
    assert len(names) == len(set(names))
    # Its build depends on the machine, so that the Makefile installs it first.
    assert not {"torch", "declutch"} & set(names)


@pytest.mark.parametrize(
    "requirement",
    requirements(*sorted(set(PROJECT["optional-dependencies"]) - UNPINNED)),
    ids=str,
)
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    if requirement.name == "torch":
        return
    pins = {canonicalize_name(pin.name): pin for pin in PINS}
    (pinned,) = pins[canonicalize_name(requirement.name)].specifier
    assert requirement.specifier.contains(pinned.version)


def test_the_makefile_installs_with_the_lock_and_all_extras_that_tests_need() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--constraint constraints.txt" in text
    (extras,) = (line for line in text.splitlines() if line.startswith("DEV_EXTRAS"))
    named = set(extras.partition(":=")[2].strip().split(","))
    # Tests do without what converts GGUF files and what needs CUDA; the site is built by itself,
    # and vLLM has an environment of its own.
    left_out = UNPINNED | APART | {"docs"}
    assert named == set(PROJECT["optional-dependencies"]) - left_out


def test_the_hooks_before_a_commit_are_tools_of_the_environment() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    installed = {requirement.name for requirement in requirements("dev")}
    (repository,) = yaml.safe_load(text)["repos"]
    assert repository["repo"] == "local"  # Nothing is fetched.
    tools = {}
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        program = Path(hook["entry"].split()[0])
        assert program.parent == Path(".venv/bin")
        tools[hook["id"]] = program.name
    assert tools == {"ruff-check": "ruff", "ruff-format": "ruff", "mypy": "mypy"}
    assert set(tools.values()) <= installed
