"""The pages that are made of the code are what the code makes of them."""

from pathlib import Path

import pytest

from declutch.cli.main import COMMANDS
from declutch.cli.reference import PAGES, write_pages

FOLDER = Path(__file__).parents[2] / "docs/reference"


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_is_up_to_date(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == PAGES[name](), "run: python -m declutch.cli.reference docs/reference"


def test_every_command_has_its_table() -> None:
    text = PAGES["cli.md"]()
    assert "| --port PORT | The port to listen at; 0 takes a free one. (default 8000) |" in text
    assert (
        "| OUT | The folder of the demo's models, demonstrations and run; runs/NAME for the "
        "settings NAME if it is left out. |" in text
    )
    for name in (name for panel in COMMANDS.values() for name in panel):
        assert f"### declutch {name}" in text
    assert "### declutch games verify [KEY=VALUE]..." in text
    assert "--judge-steps" not in text
    assert "declutch demos" not in text


def test_pages_are_written_to_a_folder(tmp_path: Path) -> None:
    write_pages(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(PAGES)


def test_defaults_are_shown_as_one_would_write_them() -> None:
    page = PAGES["api.md"]()
    assert " at 0x" not in page
    assert 'protocol: str = "", ' in page
    assert "collect_by: Collect = collect)" in page
