import json

import pytest

from declutch.ground.errors import UserError
from declutch.models.manifest import (
    MANIFEST_FILE,
    check_further_file,
    check_model_files,
    read_manifest,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "template.jinja").write_bytes(b"text")
    (tmp_path / "trainer.pt").write_bytes(b"state")
    write_manifest(tmp_path, ["trainer.pt"], {"a.b": (2, 3)})
    return tmp_path


def test_a_manifest_names_every_file(folder):
    manifest = read_manifest(folder)
    assert set(manifest.files) == {"model.safetensors", "sub/template.jinja"}
    assert set(manifest.further) == {"trainer.pt"}
    assert manifest.files["model.safetensors"].num_bytes == 7
    assert manifest.shapes == {"a.b": (2, 3)}
    check_model_files(folder)
    assert check_further_file(folder, "trainer.pt") == manifest


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"Weights", "its SHA-256 is not"), (b"weight", "it has 6 bytes, but 7"), (None, "missing")],
)
def test_a_file_that_is_not_what_was_written_is_named(folder, content, reason):
    file = folder / "model.safetensors"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"model.safetensors.*{reason}"):
        check_model_files(folder)
    # What lies beside it is looked at when it is read.
    check_further_file(folder, "trainer.pt")


def test_state_that_the_manifest_does_not_name_is_refused(folder):
    with pytest.raises(UserError, match="does not name value_head"):
        check_further_file(folder, "value_head.pt")


def test_a_folder_from_elsewhere_has_no_manifest(tmp_path):
    check_model_files(tmp_path)
    check_model_files(tmp_path / "absent")
    assert check_further_file(tmp_path, "trainer.pt") is None


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_a_manifest_names_no_file_outside_of_its_folder(folder, name):
    data = json.loads((folder / MANIFEST_FILE).read_text())
    data["files"][name] = data["files"].pop("model.safetensors")
    (folder / MANIFEST_FILE).write_text(json.dumps(data))
    with pytest.raises(UserError, match="no file beside it"):
        check_model_files(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: {**data, "files": 3},
        lambda data: {**data, "format": "another"},
        lambda data: {**data, "unknown": {}},
        lambda data: {**data, "files": {"a": {"num_bytes": "7", "sha256": "0"}}},
        lambda data: [],
    ],
)
def test_a_damaged_manifest_is_one_message(folder, change):
    data = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps(change(data)))
    with pytest.raises(UserError, match="manifest") as caught:
        check_model_files(folder)
    assert "\n" not in str(caught.value)
