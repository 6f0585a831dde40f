"""The frame of every HTML page: one file with its style, its data and its one script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any


def render_shell(
    *,
    title: str,
    header: str,
    links: Mapping[str, str],
    main: str,
    data: Any,
    scripts: Sequence[str],
    chunks: str = "",
) -> str:
    """The shell of every HTML page: one self-contained file out of parts that are escaped.

    Args:
        title: plain text.
        header, main, chunks: HTML.
        links: id of a section -> its name in the navigation.
        data: what JSON can hold; the scripts find it in the element "data".
        scripts: names of script assets, in order.
    """
    script = "\n".join(asset(name) for name in (*scripts, "shell.js"))
    return Template(asset("shell.html")).substitute(
        title=escape(title),
        script_hash=_script_hash(script),
        style=asset("report.css"),
        header=header,
        links="".join(f'<a href="#{key}">{escape(name)}</a>' for key, name in links.items()),
        main=main,
        data=inert_json(data),
        chunks=chunks,
        script=script,
    )


def inert_json(data: Any) -> str:
    """Data in the shell of an HTML page: JSON that cannot end the script element it is in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def asset(name: str) -> str:
    """Asset for the shell of HTML pages: the text of a template, style or script in `static/`."""
    folder = resources.files("declutch.report") / "static"
    return (folder / name).read_text(encoding="utf-8")


def _script_hash(script: str) -> str:
    # The page's policy names its one script by hash, so nothing injected could ever run.
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
