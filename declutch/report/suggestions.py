"""The report's section on suggestions: what training prompts showed, and where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from declutch.report.cells import count_cell
from declutch.report.drawers.html import draw_html
from declutch.report.pieces import caption_html, folded_html
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.runs.versions import Sentence, Theme, Version

MAX_PLACES = 4
MAX_SENTENCES = 30
"""Shown of each theme; the run folder has them all."""


def suggestions_section(versions: Sequence[Version]) -> str:
    """The report's suggestions section: last version in full, earlier ones folded; "" for none."""
    if not versions:
        return ""
    *earlier, last = versions
    folded = "".join(
        folded_html(_title(version), _version_html(version)) for version in reversed(earlier)
    )
    return (
        '<section id="suggestions"><h2>Suggestions</h2>'
        '<p class="lead">Made of the judge\'s own advice, and shown to the agent in training '
        "prompts and never in evaluations. Under each suggestion: the theme's sentences, how many "
        "judgments gave them, and about which steps.</p>"
        f"<h3>{escape(_title(last))}</h3>{_version_html(last)}{folded}</section>"
    )


def _title(version: Version) -> str:
    return f"From iteration {version.iteration + 1} on: {len(version.suggestions)} suggestions"


def _version_html(version: Version) -> str:
    facts = (
        f"{len(version.themes)} themes in {version.num_advice} pieces of advice from iterations "
        f"{version.first_iteration} to {version.iteration}"
    )
    if version.silhouette is not None:
        facts += f", silhouette {version.silhouette:.2f}"
    note = caption_html(version.note, is_warning=True) if version.note else ""
    items = "".join(f"<li>{escape(each)}</li>" for each in version.suggestions)
    themes = "".join(_theme_html(theme) for theme in version.themes)
    return f'{caption_html(facts)}{note}<ol class="suggestions">{items}</ol>{themes}'


def _theme_html(theme: Theme) -> str:
    title = f"{theme.suggestion or theme.medoid} · {theme.size} judgments"
    title += f" · {theme.left_out}" if theme.left_out else ""
    return folded_html(title, draw_html(sentence_sheet(theme)))


def sentence_sheet(theme: Theme) -> Sheet:
    """Table of the report's suggestions section: a theme's sentences of advice, with counts."""
    lines = [
        SheetRow(
            (Cell(sentence.text), count_cell(sentence.count), Cell(_places(sentence), tone="dim"))
        )
        for sentence in theme.sentences[:MAX_SENTENCES]
    ]
    hidden = len(theme.sentences) - len(lines)
    notes = (f"and {hidden} more sentences",) if hidden else ()
    columns = (words("advice"), Column("judgments"), words("about"))
    return Sheet("", columns, tuple(lines), notes=notes)


def _places(sentence: Sentence) -> str:
    places = [
        f"iteration {place.iteration}, {place.task}, episode {place.episode}, step {place.step + 1}"
        for place in sentence.places[:MAX_PLACES]
    ]
    hidden = len(sentence.places) - len(places)
    return "\n".join([*places, *([f"and {hidden} more steps"] if hidden else [])])
