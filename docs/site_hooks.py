"""Hooks by which MkDocs builds the site: pages of the repository's root are pages of the site, too.

Links in the repository lead from file to file, so that they work where the files are read. Here
they are turned into links between the site's pages.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ROOT_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINKED_FOLDER = "examples"
"""A folder of the repository whose files pages link to; they are copied as they are."""

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages and the example scripts to the site's files."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name.lower(), abs_src_path=str(ROOT / name)))
    for path in sorted((ROOT / LINKED_FOLDER).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = page.file.src_uri
    home = "" if here.upper().endswith(ROOT_PAGES_UPPER) else "docs"
    # Where the page lies in the repository, and where it lies in the site.
    folder = posixpath.join(home, posixpath.dirname(here))
    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if part.startswith("```") else _LINK.sub(lambda m: _turn(m, folder, here), part)
        for part in parts
    )


ROOT_PAGES_UPPER = tuple(name.upper() for name in ROOT_PAGES)


def _turn(match: re.Match[str], folder: str, here: str) -> str:
    before, target, anchor, after = match[1], match[2], match[3] or "", match[4]
    if "://" in target or target.startswith("mailto:"):
        return match[0]
    place = posixpath.normpath(posixpath.join(folder, target))
    if place in ROOT_PAGES:
        place = place.lower()
    elif place.startswith("docs/"):
        place = place.removeprefix("docs/")
    start = posixpath.dirname(here) or "."
    return f"{before}{posixpath.relpath(place, start)}{anchor}{after}"
