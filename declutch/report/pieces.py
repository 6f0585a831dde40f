"""Small pieces of HTML that the sections of every page are made of; texts are escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def notes_html(notes: Sequence[str]) -> str:
    """Piece of an HTML page: a box of what is missing or damaged; "" where all is there."""
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<aside class="notes"><strong>What this page lacks</strong><ul>{items}</ul></aside>'


def empty_html(sentence: str) -> str:
    """Piece of an HTML page: a sentence in the place of something that a run does not have."""
    return f'<p class="empty">{escape(sentence)}</p>'


def caption_html(sentence: str, *, is_warning: bool = False) -> str:
    """Piece of an HTML page: a sentence in small print."""
    return f'<p class="caption{" warn" if is_warning else ""}">{escape(sentence)}</p>'


def folded_html(title: str, body: str) -> str:
    """Piece of an HTML page that opens under a title: plain text, and HTML below it."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"
