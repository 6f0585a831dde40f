"""Options that several commands share: settings, short forms of settings, lists, removed names.

A command takes some of its options as one dataclass whose fields are annotated as typer asks for;
`grouped` spreads the fields into options and builds the dataclass again when the command is run.
Where the class has a mapping REMOVED, options that are there no more are errors that say what to
write now.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo

from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from declutch.config.run import Config


@dataclass(frozen=True)
class GivenSettings:
    """Options that commands share: settings given as files and KEY=VALUE items.

    A command that offers short forms of settings is given a subclass: its further fields are
    options, and SHORT_FORMS says which setting each of them stands for.
    """

    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings such as optimizer.lr=2e-4, which win over those of the files.",
        ),
    ] = None
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config",
            "-c",
            help="A YAML file of settings, or the name of a preset (see `declutch presets`). What "
            "it leaves out keeps its default. Where the option is repeated, each file is laid over "
            "those before it.",
        ),
    ] = None

    SHORT_FORMS: ClassVar[Mapping[str, str]] = {}

    @property
    def items(self) -> list[str]:
        """All KEY=VALUE items of the command line, those that short forms stand for last."""
        items = list(self.overrides or ())
        for name, key in self.SHORT_FORMS.items():
            value = getattr(self, name)
            if value is not None:
                text = f"[{','.join(value)}]" if isinstance(value, list) else str(value)
                items.append(f"{key}={text}")
        return items

    def load(self, *more: str) -> Config:
        """Read the settings that were given; `more` items win over them.

        Raises:
            UserError: a file that cannot be read, an unknown key, a value that is no good.
        """
        # Settings are models of pydantic, which --help does without.
        from declutch.config.files import load_config

        return load_config(self.config, [*self.items, *more])


def split_words(values: Iterable[str] | None) -> list[str]:
    """Split the values of a command-line option at commas, whether or not it was repeated."""
    return [word for value in values or () for word in value.split(",") if word]


def split_numbers(option: str, values: Iterable[str] | None) -> list[int]:
    """Split the whole numbers of a command-line option at commas; `option` is named in the error.

    Raises:
        UserError: a word that is no whole number.
    """
    words = split_words(values)
    for word in words:
        if not word.isdecimal():
            raise UserError(
                f"{option} {word!r} is no whole number; several are written {option} 0,1,2"
            )
    return [int(word) for word in words]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Make a typer command whose dataclass parameters are spread into options, one a field."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    removed: dict[str, str] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if is_dataclass(kind):
            groups[name] = kind
            removed |= getattr(kind, "REMOVED", {})
            own = get_type_hints(kind, include_extras=True)
            parameters += [_option(f.name, f.default, own[f.name]) for f in fields(kind)]
        else:
            parameters.append(_option(name, parameter.default, kind))

    gone = [_removed_option(option, instead) for option, instead in removed.items()]
    positionals = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.name != "overrides"
        and any(isinstance(info, ArgumentInfo) for info in get_args(parameter.annotation)[1:])
    }

    def run(**values: Any) -> None:
        for parameter in gone:
            del values[parameter.name]
        _take_settings_out(values, positionals)
        _refuse_stray_words(values)
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, __name__
    parameters += gone
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    for info in get_args(annotation)[1:]:
        if isinstance(info, ArgumentInfo) and info.metavar is None:
            # Versions of typer write the names of arguments in different ways.
            info.metavar = name.upper()
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _removed_option(name: str, instead: str) -> inspect.Parameter:
    """A hidden option that is only there to say what to write in its place."""

    def refuse(is_given: bool) -> None:
        if is_given:
            raise UserError(f"{name} is no option any more: write {instead}")

    option = typer.Option(name, hidden=True, is_eager=True, callback=refuse)
    parameter = f"removed_{name.strip('-').replace('-', '_')}"
    return _option(parameter, False, Annotated[bool, option])


def _take_settings_out(values: dict[str, Any], positionals: Mapping[str, Any]) -> None:
    """Count a setting that stands where an argument may be left out among the settings.

    Args:
        values: of the command's parameters; changed in place.
        positionals: the arguments that come before the settings, and their defaults.
    Raises:
        UserError: a setting stands where an argument is needed.
    """
    if "overrides" not in values:
        return
    settings = []
    for name, default in positionals.items():
        value = values[name]
        text = "" if value is None else str(value)
        if not _SETTING.match(text) or Path(text).exists():
            continue
        if default is inspect.Parameter.empty:
            raise UserError(
                f"{name.upper()} is missing: it comes before settings such as {text!r}; see --help"
            )
        settings.append(text)
        values[name] = default
    values["overrides"] = [*settings, *(values["overrides"] or ())]


_SETTING = re.compile(r"[a-z]\w*(\.\w+)*=")


def _refuse_stray_words(values: Mapping[str, Any]) -> None:
    """Say how a list is written where words stand among the KEY=VALUE items.

    Raises:
        UserError: a word without "=".
    """
    stray = [item for item in values.get("overrides") or () if "=" not in item]
    if not stray:
        return
    lists = {
        f"--{name}": value
        for name, value in values.items()
        if value and isinstance(value, list) and name not in ("overrides", "config")
    }
    hint = ""
    if len(lists) == 1:
        ((option, given),) = lists.items()
        hint = f"; several values are written with commas: {option} {','.join([*given, *stray])}"
    elif lists:
        usage = " ".join(f"{option} A,B" for option in lists)
        hint = f"; several values of an option are written with commas: {usage}"
    raise UserError(f"{stray[0]!r} is not of the form section.key=value{hint}")
