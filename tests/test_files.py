"""Files and folders appear whole or not at all, whoever dies while writing them."""

from pathlib import Path

import pytest

from declutch.errors import UserError
from declutch.files import delete_folder, path_below, write_folder


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    place = tmp_path / "made" / "model"
    for number in (1, 2):
        with write_folder(place) as folder:
            assert folder.parent == place.parent
            (folder / f"file {number}").write_text("x")
            assert not (place / f"file {number}").exists()
    assert [path.name for path in place.iterdir()] == ["file 2"]
    assert [path.name for path in place.parent.iterdir()] == ["model"]


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as folder:
        (folder / "old").write_text("x")
    with pytest.raises(FileNotFoundError), write_folder(tmp_path / "model") as folder:
        (folder / "absent" / "new").write_text("x")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_deleted_folder_leaves_nothing(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as folder:
        (folder / "old").write_text("x")
    delete_folder(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../../b", "a/..", "a\x00b"])
def test_a_name_cannot_lead_out_of_its_folder(name):
    with pytest.raises(UserError, match="is no name of something in"):
        path_below(Path("games"), name)
    assert path_below(Path("games"), "kind-a/trial") == Path("games/kind-a/trial")
