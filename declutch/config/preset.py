"""Presets: files of settings that come with the package and are called by name, such as `demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from declutch.ground.errors import UserError

FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class Preset:
    """A preset: a file of settings in the package.

    Attributes:
        name: what `--config` takes, such as "laptop" or "methods/ppo".
        path: the YAML file.
    """

    name: str
    path: Path

    @property
    def description(self) -> str:
        """What the preset is for: the comment at the beginning of its file, on one line."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        comment: list[str] = []
        for line in lines:
            if not line.startswith("#"):
                break
            comment.append(line.lstrip("# ").strip())
        return " ".join(comment)


def list_presets() -> tuple[Preset, ...]:
    """List the presets of the package: those of whole runs first, then those laid over one."""
    found = [
        Preset(path.relative_to(FOLDER).with_suffix("").as_posix(), path)
        for path in FOLDER.rglob("*.yaml")
    ]
    return tuple(sorted(found, key=lambda preset: ("/" in preset.name, preset.name)))


def find_settings_file(given: Path) -> Path:
    """Find the file behind what `--config` was given: a YAML file there is, or a preset's name.

    Raises:
        UserError: it is neither; the message lists the presets.
    """
    if given.is_file():
        return given
    presets = {preset.name: preset.path for preset in list_presets()}
    if given.as_posix() in presets:
        return presets[given.as_posix()]
    if given.suffix in (".yaml", ".yml") or given.exists():
        return given  # Reading it says what is wrong with it.
    raise UserError(
        f"--config {given}: there is no such file, and no preset of that name; presets are "
        f"{', '.join(presets)} (`declutch presets` describes them)"
    )
