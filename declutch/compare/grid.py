"""The grid of a comparison: which runs methods, GCD on or off, and seeds make, and their state."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from declutch.compare.order import read_order
from declutch.config.files import apply_overrides, change_config, lay_over, parse_config, read_yaml
from declutch.config.preset import find_settings_file
from declutch.config.run import Config
from declutch.ground.errors import UserError
from declutch.runs.claims import check_claim
from declutch.runs.folder import RunFolder, iteration_name
from declutch.runs.read import read_metrics

FREE_KEYS = ("threads", "processes", "train.keep_checkpoints")
"""Settings that runs of one comparison may differ in, since they change rounding at most."""
SHARED_SECTIONS = ("env", "eval")
GRID_KEYS = {"seed": "--seeds", "algorithm.type": "--methods", "gcd.enabled": "--gcd"}
_NAME = re.compile(r"(.+?)(\+gcd)?_s(\d+)")


@dataclass(frozen=True, order=True)
class Arm:
    """An arm of a comparison's grid: a method with or without GCD, whose runs differ in seed."""

    method: str
    has_gcd: bool

    def __str__(self) -> str:
        return f"{self.method}+gcd" if self.has_gcd else self.method


@dataclass(frozen=True, order=True)
class RunId:
    """One run of a comparison's grid by method, GCD and seed; as text it is the folder's name."""

    arm: Arm
    seed: int

    def __str__(self) -> str:
        return f"{self.arm}_s{self.seed}"

    @classmethod
    def parse(cls, name: str) -> RunId | None:
        """The run that a folder's name stands for; None where it stands for none."""
        match = _NAME.fullmatch(name)
        return cls(Arm(match[1], bool(match[2])), int(match[3])) if match else None


@dataclass(frozen=True)
class PlannedRun:
    """A run that a comparison's grid needs, and the configuration it is to have."""

    id: RunId
    config: Config


def plan_grid(
    base: Mapping[str, Any],
    methods: Sequence[str],
    gcd: Sequence[bool],
    seeds: Sequence[int],
    overrides: Sequence[str],
    model: str,
) -> tuple[PlannedRun, ...]:
    """Plan the grid of a comparison: every method, with and without GCD, for every seed.

    Args:
        base: plain configuration data that all methods share.
        methods: algorithm types, or YAML files laid over `base`.
        gcd: values of gcd.enabled; empty leaves each method its own.
        overrides: "section.key=value" items that win over `base` and the files.
        model: where a run starts whose settings name no model.path.
    Raises:
        UserError: settings that no run can have, a run asked for twice, methods that would not be
            evaluated alike.
    """
    _check_overrides(overrides, gcd)
    arms: dict[Arm, Config] = {}
    for text in methods:
        name, data = read_method(text, base)
        config = parse_config(apply_overrides(data, tuple(overrides)), f"method {name}")
        for enabled in gcd or (config.gcd.enabled,):
            arm = Arm(name, enabled)
            if arm in arms:
                raise UserError(f"--methods and --gcd ask for {arm} twice")
            arms[arm] = change_config(
                config,
                threads=config.threads or 1,
                model={"path": config.model.path or model},
                gcd={"enabled": enabled},
            )
    _check_shared(arms)
    return tuple(
        PlannedRun(RunId(arm, seed), change_config(config, seed=seed))
        for seed in dict.fromkeys(seeds)
        for arm, config in arms.items()
    )


def read_method(text: str, base: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Read a method of a comparison's grid, an algorithm type or a YAML file: name and settings.

    Args:
        text: an algorithm type; or a YAML file or a preset such as "methods/ppo", laid over
            `base`, whose last part is the name.
    """
    path = Path(text)
    is_file = path.suffix in (".yaml", ".yml") or "/" in text
    above = read_yaml(find_settings_file(path)) if is_file else {"algorithm": {"type": text}}
    return path.stem if is_file else text, lay_over(base, above)


def find_runs(
    out: Path, methods: Sequence[str], gcd: Collection[bool], seeds: Collection[int]
) -> tuple[RunId, ...]:
    """Find the grid of a comparison in its folder again, as runs in the grid's order.

    The order is the folder's own, see `order.py`. What it does not name comes behind: in the order
    of `methods`, or of names.

    Args:
        methods: names to select; none selects all.
        gcd, seeds: values to select; none selects all.
    Raises:
        UserError: there are none.
    """
    if not out.is_dir():
        raise UserError(f"no folder {out}; give the one that `declutch compare` trained in")
    found = [run for path in out.iterdir() if path.is_dir() and (run := RunId.parse(path.name))]
    chosen = [
        run
        for run in found
        if (not methods or run.arm.method in methods)
        and (not gcd or run.arm.has_gcd in gcd)
        and (not seeds or run.seed in seeds)
    ]
    if not chosen:
        raise UserError(
            f"{out} holds no such run; the folders of runs are named METHOD_sSEED or "
            "METHOD+gcd_sSEED"
        )
    names = [*methods, *sorted({run.arm.method for run in chosen})]
    order = list(dict.fromkeys([*read_order(out), *names]))
    return tuple(sorted(chosen, key=lambda run: (order.index(run.arm.method), run)))


def parse_gcd(words: Sequence[str]) -> tuple[bool, ...]:
    """Read one axis of the grid, "off" and "on", into values of gcd.enabled."""
    known = {"off": False, "on": True}
    for word in words:
        if word not in known:
            raise UserError(f"--gcd {word!r} is neither off nor on")
    return tuple(known[word] for word in words)


def check_run(run: PlannedRun, folder: RunFolder) -> None:
    """Check that the run begun in a folder is the one that the grid of a comparison plans.

    Raises:
        UserError: its configuration differs; the message names the first key and both values.
    """
    if not folder.has_begun():
        return
    model = folder.read_config().model.path
    is_same = Path(model).resolve() == Path(run.config.model.path).resolve()
    # The same folder may be named from elsewhere.
    ignored = (*FREE_KEYS, "model.path") if is_same else FREE_KEYS
    check_claim(folder.config_path, run.config, ignored)


def iterations_done(folder: RunFolder) -> int:
    """How many iterations a run of the grid has on record, 0 if it was never started."""
    rows = read_metrics(folder, [])
    return int(rows[-1]["iteration"] or 0) if rows else 0


def is_complete(run: PlannedRun, folder: RunFolder) -> bool:
    """Whether a run of a comparison's grid has recorded all iterations and the last evaluation."""
    iterations = run.config.train.iterations
    last = folder.evaluation_path(iteration_name(iterations))
    return last.exists() and iterations_done(folder) == iterations


def describe_state(run: PlannedRun, folder: RunFolder) -> str:
    """Say where a run of the grid stands: complete, new, or where it goes on from."""
    if is_complete(run, folder):
        return "complete"
    if not folder.has_begun():
        return "new"
    return f"goes on from iteration {folder.iterations_saved()} of {run.config.train.iterations}"


def _check_overrides(overrides: Sequence[str], gcd: Sequence[bool]) -> None:
    for item in overrides:
        key = item.partition("=")[0]
        if key in GRID_KEYS and (gcd or key != "gcd.enabled"):
            raise UserError(
                f"{item!r}: a comparison sets {key} for each of its runs; say with "
                f"{GRID_KEYS[key]} which values it takes"
            )


def _check_shared(arms: Mapping[Arm, Config]) -> None:
    (first, one), *others = arms.items()
    for section in SHARED_SECTIONS:
        for arm, config in others:
            here, there = getattr(config, section), getattr(one, section)
            for key in type(here).model_fields:
                if getattr(here, key) != getattr(there, key):
                    raise UserError(
                        f"{section}.{key} is {getattr(there, key)} for {first} but "
                        f"{getattr(here, key)} for {arm}: methods are compared on the same games, "
                        "played alike"
                    )


COLD_START_FILE = "cold_start.yaml"


COLD_START_SECTIONS = ("seed", "threads", "env", "agent", "tiny", "sft")


@dataclass(frozen=True)
class Grid:
    """The grid of a comparison: its runs, checked against what lies in the folder they train in.

    Attributes:
        out: where the runs are.
        runs: all of them, in the order they are trained.
        cold_start: settings of the cold start that is made in `out`; None where all runs name a
            model of their own.
    """

    out: Path
    runs: tuple[PlannedRun, ...]
    cold_start: Config | None

    def folder(self, run: PlannedRun) -> RunFolder:
        """Where a run of the grid lies."""
        return RunFolder(self.out / str(run.id))

    @property
    def waiting(self) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if not is_complete(run, self.folder(run)))


def make_grid(
    out: Path,
    base: Mapping[str, Any],
    methods: Sequence[str],
    gcd: Sequence[bool],
    seeds: Sequence[int],
    overrides: Sequence[str],
) -> Grid:
    """Make a comparison's `Grid`: plan all runs and their cold start, but write nothing.

    Raises:
        UserError: as `plan_grid`, or a run or cold start in `out` has other settings.
    """
    model = str(out / "cold_start")
    runs = plan_grid(base, methods, gcd, seeds, overrides, model)
    for run in runs:
        check_run(run, RunFolder(out / str(run.id)))
    cold = None
    if any(run.config.model.path == model for run in runs):
        cold = _cold_start_config(base, overrides)
    return Grid(out, runs, cold)


def _cold_start_config(base: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    """The settings a cold start depends on; everything else is left at its default."""
    data = {key: value for key, value in base.items() if key != "algorithm"}
    items = tuple(item for item in overrides if not item.startswith("algorithm."))
    config = parse_config(apply_overrides(data, items), "the cold start")
    sections = config.model_dump(mode="json")
    model = {"device": config.model.device, "dtype": config.model.dtype}
    chosen = {key: sections[key] for key in COLD_START_SECTIONS}
    return change_config(Config(), **chosen, model=model)
