"""A mistyped model is found out at once, and the hub is asked once at most."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, errors

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


def answer_of(status: int, kind: type[Exception]) -> Exception:
    """An error as the library raises it for an answer; made without one, which needs a request."""
    error = kind.__new__(kind)
    Exception.__init__(error, f"status {status}")
    return error


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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("no route"), "it does not answer: no route"),
        (RuntimeError("odd"), "it does not answer: odd"),
        (answer_of(404, errors.RepositoryNotFoundError), "it has none, or shows it to others only"),
        (answer_of(403, errors.GatedRepoError), ""),
        (answer_of(429, errors.HfHubHTTPError), ""),
        (errors.HFValidationError("two slashes"), "it has no names like that"),
        (None, ""),
    ],
    ids=repr,
)
def test_the_hub_is_asked_once_and_shortly(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, reason: str
) -> None:
    tries: list[float] = []

    def answer(api: HfApi, name: str, timeout: float) -> None:
        tries.append(timeout)
        if error is not None:
            raise error

    monkeypatch.setattr(HfApi, "model_info", answer)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert ask_hub("someone/model").partition(": `")[0] == reason
    assert tries == [5.0]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids" in ask_hub("someone/model")
    assert len(tries) == 1


def test_a_first_part_that_is_a_folder_here_makes_it_a_path() -> None:
    assert looks_like_folder("runs/anything")
    assert not looks_like_folder("elsewhere/anything")
