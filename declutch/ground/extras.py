"""The commands that install the package's extras, such as `lora`, into the environment in use."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse


def list_extras() -> tuple[str, ...]:
    """List the extras that the installed package declares; () where it is not installed."""
    try:
        return tuple(metadata.metadata("declutch").get_all("Provides-Extra") or ())
    except metadata.PackageNotFoundError:
        return ()


def install_command(extra: str) -> str:
    """Write the command that installs the packages of an extra, as it can be typed here.

    It names this environment's pip. Where the package was installed from a checkout, its pins
    (`constraints.txt`) are kept to. The packages are named themselves, so that the command does
    not depend on where the package itself came from.
    """
    requirements = requirements_of(extra)
    if not requirements:
        return f"pip install {shlex.quote(f'declutch[{extra}]')}"
    words = [*_pip(), "install", *_constraints(), *requirements]
    return " ".join(shlex.quote(word) for word in words)


def requirements_of(extra: str) -> tuple[str, ...]:
    """List the packages of an extra of the installed package, with their ranges; () if unknown."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("declutch") or []
    except metadata.PackageNotFoundError:
        return ()
    found = [Requirement(line) for line in lines]
    return tuple(
        f"{each.name}{each.specifier}"
        for each in found
        if each.marker is not None
        and each.marker.evaluate({"extra": extra})
        and not each.marker.evaluate({"extra": ""})
    )


def is_installed(requirement: str) -> bool:
    """Whether a package of an extra is installed in the range that its requirement names."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return False
    return wanted.specifier.contains(version, prereleases=True)


def _pip() -> list[str]:
    """The pip of the environment that runs now, by the shortest name that surely means it."""
    found = shutil.which("pip")
    here = Path(sys.executable).parent
    if found is not None and Path(found).parent == here:
        return ["pip"]
    return [sys.executable, "-m", "pip"]


def _constraints() -> list[str]:
    try:
        text = metadata.distribution("declutch").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return []
    place = urlparse(json.loads(text)["url"]) if text else None
    if place is None or place.scheme != "file":
        return []
    pins = Path(unquote(place.path)) / "constraints.txt"
    return ["-c", str(pins)] if pins.is_file() else []
