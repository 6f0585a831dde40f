"""Put the page together: template, style, scripts and the run's data in one file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from declutch.errors import UserError
from declutch.report.compare import compare
from declutch.report.curves import chart_data
from declutch.report.episodes import BUDGET_CHARACTERS, Episodes, pack_episodes
from declutch.report.read import RunData, read_run
from declutch.report.sections import (
    behaviour_section,
    comparison_section,
    config_section,
    header_section,
    notes_section,
    phases_section,
    score_cards,
)

PAGE_NAME = "report.html"
SCRIPTS = ("charts.js", "browser.js", "page.js")


def build_report(run_dir: Path) -> Path:
    """Write `report.html` into the run folder: one file that loads nothing from anywhere.

    Parts of the folder that are missing or damaged are named on the page.

    Returns:
        The page's path.
    Raises:
        UserError: no run folder, or something in it cannot be read or written.
    """
    try:
        data = read_run(run_dir)
        episodes = pack_episodes(data.episode_files, BUDGET_CHARACTERS)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
    page = render_page(data, episodes)
    path = run_dir / PAGE_NAME
    temporary = path.with_name(f".{PAGE_NAME}.{os.getpid()}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write the report {path}: {error.strerror}") from None
    return path


def render_page(data: RunData, episodes: Episodes) -> str:
    """The whole page; everything that comes from the run is escaped or inert."""
    comparison = compare(data)
    script = "\n".join(_asset(name) for name in SCRIPTS)
    return Template(_asset("page.html")).substitute(
        title=escape(f"{data.name} · declutch"),
        script_hash=_script_hash(script),
        style=_asset("report.css"),
        header=header_section(data),
        notes=notes_section([*data.notes, *episodes.notes]),
        cards=score_cards(data, comparison),
        comparison=comparison_section(comparison),
        behaviour=behaviour_section(comparison),
        phases=phases_section(data),
        episode_count=escape(_episode_count(episodes)),
        config=config_section(data),
        data=inert_json(
            {"charts": chart_data(data, comparison), "episodes": _episode_index(episodes)}
        ),
        chunks="\n".join(
            f'<script type="text/plain" id="chunk-{chunk.iteration}">{chunk.encoded}</script>'
            for chunk in episodes.chunks
        ),
        script=script,
    )


def inert_json(data: Any) -> str:
    """JSON that cannot end the script element that carries it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    folder = resources.files("declutch.report") / "static"
    return (folder / name).read_text(encoding="utf-8")


def _script_hash(script: str) -> str:
    # The page's policy names its one script by hash, so nothing injected could ever run.
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _episode_count(episodes: Episodes) -> str:
    if not episodes.num_saved:
        return "No episodes were saved in this run."
    text = f"{episodes.num_shown} episodes of {len(episodes.chunks)} iterations."
    if episodes.num_shown < episodes.num_saved:
        text += (
            f" {episodes.num_saved - episodes.num_shown} more are in the run folder's episodes/; "
            "they would make this page too large."
        )
    return text


def _episode_index(episodes: Episodes) -> list[dict[str, Any]]:
    return [
        {"iteration": chunk.iteration, "episodes": list(chunk.index)} for chunk in episodes.chunks
    ]
