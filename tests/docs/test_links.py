"""Every page can be reached, and every link within the repository leads somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import PAGES, ROOT, find_anchors, find_links, page_name


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in find_links(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page_name(page)} links to {link}, which does not exist"
        assert path.is_relative_to(ROOT), f"{page_name(page)} links out of the repository: {link}"
        if anchor:
            anchors = find_anchors(path.read_text(encoding="utf-8"))
            assert anchor in anchors, f"{page_name(page)} links to {link}; there is no such heading"


def test_the_index_links_to_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in find_links(index.read_text(encoding="utf-8"))
    }
    assert set(PAGES) - linked == {index}
