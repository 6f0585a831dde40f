"""A mistyped model is found out at once, and the hub is asked once at most."""

import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import constants

from declutch.ground.errors import UserError
from declutch.models.find import ask_hub, find_model, looks_like_folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a model and a run in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("runs/cold", "runs/gcd/checkpoints/iteration-00010"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


def never(name: str) -> str:
    raise AssertionError(f"the hub was asked for {name}")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", r"model\.path is empty"),
        ("runs/colld", r"no folder runs/colld; did you mean runs/cold\?"),
        ("./nothing", r"no folder \./nothing$"),
        ("nowhere/deep/er", r"no folder nowhere/deep/er, nor a folder nowhere/deep"),
        ("runs/gcd", r"no model.*did you mean its checkpoint runs/gcd/checkpoints/iteration-00010"),
        ("runs/cold/config.json", r"is a file"),
    ],
)
def test_what_looks_like_a_folder_is_not_asked_for_elsewhere(path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_model(path, never)


def test_a_model_that_is_there_is_found() -> None:
    find_model("runs/cold", never)
    find_model("runs/gcd/checkpoints/iteration-00010", never)


@pytest.mark.parametrize("name", ["cold", "someone/a-model-of-theirs"])
def test_a_name_is_asked_for_once(name: str) -> None:
    asked: list[str] = []
    find_model(name, lambda each: asked.append(each) or "")
    assert asked == [name]
    with pytest.raises(UserError, match=rf"no folder {name}.*\(it has none\)"):
        find_model(name, lambda each: "it has none")


def test_a_hub_that_cannot_be_reached_is_tried_once_and_shortly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[float] = []

    def refuse(request: object, timeout: float) -> None:
        tries.append(timeout)
        raise OSError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert ask_hub("someone/model") == "it does not answer: no route"
    assert len(tries) == 1
    assert tries[0] <= 5


def test_a_first_part_that_is_a_folder_here_makes_it_a_path() -> None:
    assert looks_like_folder("runs/anything")
    assert not looks_like_folder("elsewhere/anything")
