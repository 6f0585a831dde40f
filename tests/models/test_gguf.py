"""GGUF files: how one is found, and what is said where there is none."""

from pathlib import Path

import pytest

from declutch.ground.errors import UserError
from declutch.models.gguf import convert_gguf, find_gguf


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "llm_some_model"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_a_file_is_found_by_its_path_and_by_its_package(package: Path) -> None:
    file = package / "model.Q4_1.gguf"
    file.write_bytes(b"GGUF")
    assert find_gguf(str(file)) == file
    assert find_gguf("llm-some-model") == find_gguf("llm_some_model") == file


def test_a_package_must_hold_exactly_one(package: Path) -> None:
    with pytest.raises(UserError, match=r"'llm-some-model' holds not one GGUF file but none"):
        find_gguf("llm-some-model")
    for name in ("b.gguf", "a.gguf"):
        (package / name).touch()
    with pytest.raises(UserError, match=r"but a\.gguf, b\.gguf; give a path"):
        find_gguf("llm-some-model")


@pytest.mark.parametrize("source", ["/no/file.gguf", "no-such-package", "json.decoder", ""])
def test_what_is_neither_is_one_clear_error(source: str) -> None:
    with pytest.raises(UserError, match="neither a GGUF file nor an installed package"):
        find_gguf(source)


def test_a_broken_file_is_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF but no more")
    with pytest.raises(UserError, match=r"broken\.gguf cannot be read .*pip install .*'gguf"):
        convert_gguf(str(file), tmp_path / "out")
    assert not (tmp_path / "out").exists()
