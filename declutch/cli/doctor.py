"""`declutch doctor`: what a run needs and what is there, every problem with its remedy.

Nothing is changed or made.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console as terminal
from declutch.errors import Finding, Status, UserError, has_problem

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from rich.table import Table

    from declutch.config.env import EnvConfig
    from declutch.config.run import Config
    from declutch.envs.alfworld.suite import AlfworldSuite
    from declutch.envs.protocol import Suite

GIB = 1024**3
MIN_PYTHON = (3, 11)
SCARCE_MEMORY, LITTLE_MEMORY = 1 * GIB, 2 * GIB
SCARCE_DISK, LITTLE_DISK = GIB // 2, 2 * GIB
MAIN_PACKAGES = ("torch", "transformers")

Counts = Mapping[str, Mapping[str, int]]
"""Games by raw split and task type."""


@grouped
def doctor_command(given: GivenSettings) -> None:
    """Say what is installed and found, and the remedy of every problem."""
    from declutch.report.tables import findings_table

    findings = diagnose(given.load())
    terminal.print(findings_table(findings))
    if has_problem(findings):
        raise typer.Exit(1)


def diagnose(config: Config) -> list[Finding]:
    """Look at everything a run with `config` needs."""
    import psutil
    import torch

    return [
        check_python(sys.version_info[:3]),
        *check_packages(_declared_requirements(), _installed_version),
        check_textworld(_installed_version),
        *check_games(config),
        check_model(config.model.path),
        check_cores(_num_cores(), config.threads, torch.get_num_threads()),
        check_memory(psutil.virtual_memory().total, psutil.virtual_memory().available),
        check_disk(config.env.cache_dir.expanduser()),
        check_gpu(config, _gpu_names(), has_driver=shutil.which("nvidia-smi") is not None),
    ]


def check_python(version: tuple[int, int, int] | tuple[int, ...]) -> Finding:
    """The interpreter is recent enough."""
    text = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if tuple(version[:2]) < MIN_PYTHON:
        wanted = ".".join(map(str, MIN_PYTHON))
        remedy = f"install Python {wanted} or newer and make a new environment with it"
        return Finding("Python", Status.PROBLEM, text, remedy)
    return Finding("Python", Status.OK, text)


def check_packages(
    requirements: Sequence[Requirement] | None, version_of: Callable[[str], str | None]
) -> list[Finding]:
    """Every required package is installed and recent enough.

    Args:
        requirements: what the distribution declares, None where it is not installed itself.
        version_of: a package's installed version, None where it is absent.
    """
    if requirements is None:
        remedy = "install it: pip install -e . in the checkout, or pip install declutch"
        detail = "the package itself is not installed, so its requirements are not known"
        return [Finding("declutch", Status.WARN, detail, remedy)]
    findings = []
    fine = []
    for requirement in requirements:
        name, version = requirement.name, version_of(requirement.name)
        if version is None:
            findings.append(
                Finding(name, Status.PROBLEM, "not installed", f"pip install '{requirement}'")
            )
        elif not requirement.specifier.contains(version, prereleases=True):
            detail = f"{version}, but {requirement.specifier} is needed"
            remedy = f"pip install --upgrade '{requirement}'"
            findings.append(Finding(name, Status.PROBLEM, detail, remedy))
        elif name in MAIN_PACKAGES:
            findings.append(Finding(name, Status.OK, version))
        else:
            fine.append(f"{name} {version}")
    if fine:
        findings.append(Finding("other packages", Status.OK, ", ".join(fine)))
    return findings


def check_textworld(version_of: Callable[[str], str | None]) -> Finding:
    """The official engine, which only `games verify` uses."""
    versions = {name: version_of(name) for name in ("alfworld", "textworld")}
    absent = [name for name, version in versions.items() if version is None]
    if absent:
        detail = "not installed; only `declutch games verify` and the benchmark need it"
        return Finding("official engine", Status.OK, detail, "pip install 'declutch[textworld]'")
    detail = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Finding("official engine", Status.OK, detail)


def check_games(config: Config) -> list[Finding]:
    """The games of the configured suite, and the official ones where they are to be found."""
    from declutch.config.env import is_custom

    if config.env.suite == "households":
        return [check_households(config), _check_official(config, is_needed=False)]
    if config.env.suite == "math":
        return [check_math(config, _installed_version)]
    if config.env.suite == "scienceworld":
        return [check_scienceworld(config)]
    if is_custom(config.env.suite):
        return [check_custom(config)]
    return [_check_official(config, is_needed=True)]


def check_households(config: Config) -> Finding:
    """The generated games: in the cache, or to be made at first use."""
    from declutch.envs.alfworld.suite import AlfworldSuite

    name = "generated games"
    folder = households_folder(config.env)
    if not folder.exists():
        wanted = config.env.households
        total = wanted.train + wanted.valid_seen + wanted.valid_unseen
        detail = f"{total} games will be generated into {folder} at first use"
        return Finding(name, Status.OK, detail, "or now: declutch games generate")
    remedy = f"delete {folder}; the games are generated anew at the next use"
    return _describe_suite(name, AlfworldSuite(folder, "households"), config, remedy)


def check_math(config: Config, version_of: Callable[[str], str | None]) -> Finding:
    """The verifier, and a file of problems or what generates them."""
    from declutch.envs.registry import make_suite

    name, path = "math problems", config.env.math.file
    needed = ("math-verify",) if path is not None else ("math-verify", "reasoning-gym")
    absent = [package for package in needed if version_of(package) is None]
    if absent:
        detail = f"not installed: {', '.join(absent)}"
        return Finding(name, Status.PROBLEM, detail, "pip install 'declutch[math]'")
    if path is None:
        return Finding(name, Status.OK, "generated by topic at first use")
    try:
        suite = make_suite(config.env)
    except UserError as error:
        return Finding(name, Status.PROBLEM, str(error), "correct env.math.file")
    return Finding(name, Status.OK, f"{path}\n{_format_counts(count_games(suite))}")


def check_scienceworld(config: Config) -> Finding:
    """The simulator, a Java for it, and the JVMs that a run may start."""
    from importlib import metadata

    from declutch.envs.scienceworld.suite import ScienceWorldSuite

    name, own = "ScienceWorld", config.env.scienceworld
    try:
        suite = ScienceWorldSuite(own)
    except UserError as error:
        detail, _, remedy = str(error).partition("; ")
        return Finding(name, Status.PROBLEM, detail, remedy)
    detail = (
        f"{metadata.version('scienceworld')} with {suite.launch.java}\n"
        f"up to {own.max_live} JVMs of some 200 MiB, and one that plans of up to 600 MiB\n"
        f"{_format_counts(count_games(suite))}"
    )
    return Finding(name, Status.OK, detail)


def check_custom(config: Config) -> Finding:
    """An environment of the user's own: it can be made, and has the tasks that are asked for."""
    from declutch.envs.registry import make_suite

    name, spec = "environment", config.env.suite
    remedy = f"declutch envs check {spec} looks at it closely"
    try:
        suite = make_suite(config.env)
        counts = count_games(suite)
        for level in (config.train.split, *config.eval.levels):
            suite.tasks(level)
    except UserError as error:
        detail, _, own_remedy = str(error).partition("; ")
        return Finding(name, Status.PROBLEM, detail, own_remedy or remedy)
    return Finding(name, Status.OK, f"{spec}\n{_format_counts(counts)}", remedy)


def households_folder(env: EnvConfig) -> Path:
    """Where the configured households are or will be, without making them."""
    from declutch.envs.households.generate import GENERATOR_VERSION

    wanted = env.households
    sizes = f"{wanted.train}-{wanted.valid_seen}-{wanted.valid_unseen}"
    name = f"households-v{GENERATOR_VERSION}-seed{wanted.seed}-{sizes}"
    return env.cache_dir.expanduser() / name


def check_model(path: str) -> Finding:
    """The model to start from, as far as a look at its folder tells."""
    name = "model"
    if not path:
        detail = "none configured (model.path); commands that need one take it as an argument"
        return Finding(name, Status.OK, detail, "declutch init-tiny FOLDER makes a small one")
    folder = Path(path).expanduser()
    if not folder.exists():
        if folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1:
            remedy = "correct model.path, or make a small model: declutch init-tiny FOLDER"
            return Finding(name, Status.PROBLEM, f"{path} does not exist", remedy)
        detail = f"{path} is no local folder; it will be looked for on the Hugging Face hub"
        return Finding(name, Status.WARN, detail, "give a local folder if that is not meant")
    absent = [file for file in ("config.json", "tokenizer_config.json") if not _has(folder, file)]
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        absent.append("weights (*.safetensors)")
    if absent:
        detail = f"{path} lacks {', '.join(absent)}"
        remedy = "give the folder that init-tiny, sft or save_pretrained wrote"
        return Finding(name, Status.PROBLEM, detail, remedy)
    return Finding(name, Status.OK, path)


def check_cores(num_cores: int, wanted: int | None, current: int) -> Finding:
    """Cores this process may use, against the threads PyTorch will use."""
    threads = wanted or current
    detail = f"{num_cores} cores for this process, {threads} PyTorch threads"
    if threads > num_cores:
        remedy = f"set threads={num_cores} or less: more threads than cores slow each other down"
        return Finding("cores", Status.WARN, detail, remedy)
    return Finding("cores", Status.OK, detail)


def check_memory(total: int, available: int) -> Finding:
    """Memory in bytes."""
    detail = f"{available / GIB:.1f} of {total / GIB:.1f} GiB available"
    if available < LITTLE_MEMORY:
        status = Status.PROBLEM if available < SCARCE_MEMORY else Status.WARN
        remedy = "close other programs, or lower rollout.max_batch and optimizer.micro_batch_tokens"
        return Finding("memory", status, detail, remedy)
    return Finding("memory", Status.OK, detail)


def check_disk(cache_dir: Path, free: int | None = None) -> Finding:
    """The cache folder can be written and has room; `free` in bytes is measured by default."""
    name = "cache folder"
    existing = next(path for path in (cache_dir, *cache_dir.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        detail = f"{cache_dir} cannot be written"
        return Finding(name, Status.PROBLEM, detail, "set env.cache_dir to a folder of your own")
    free = shutil.disk_usage(existing).free if free is None else free
    detail = f"{cache_dir}, {free / GIB:.1f} GiB free"
    if free < LITTLE_DISK:
        status = Status.PROBLEM if free < SCARCE_DISK else Status.WARN
        remedy = "free some space, or set env.cache_dir to a larger disk"
        return Finding(name, status, detail, remedy)
    return Finding(name, Status.OK, detail)


def check_gpu(config: Config, gpus: Sequence[str], *, has_driver: bool) -> Finding:
    """CUDA devices that PyTorch can use, against what the configuration asks for.

    Args:
        gpus: a description of each usable device.
        has_driver: an NVIDIA driver is installed, whether or not PyTorch can use it.
    """
    name, wants_gpu = "GPU", config.model.device.startswith("cuda")
    if gpus:
        return Finding(name, Status.OK, ", ".join(gpus))
    if wants_gpu:
        detail = f"model.device={config.model.device}, but PyTorch sees no GPU"
        remedy = "set model.device=auto, or install a CUDA build of PyTorch and the driver"
        return Finding(name, Status.PROBLEM, detail, remedy)
    if has_driver:
        from importlib import metadata

        detail = f"a driver is installed, but torch {metadata.version('torch')} cannot use it"
        remedy = "install a CUDA build of PyTorch: https://pytorch.org/get-started/locally"
        return Finding(name, Status.WARN, detail, remedy)
    if config.model.dtype == "bfloat16":
        remedy = "set model.dtype=float32: on a CPU bfloat16 gains nothing for small models"
        return Finding(name, Status.WARN, "none; the CPU is used in bfloat16", remedy)
    return Finding(name, Status.OK, "none; the CPU is used, which suits the tiny model")


def count_games(suite: Suite) -> Counts:
    """Games by split and task type.

    Raises:
        UserError: a suite that cannot count, and has no task in a split it should have.
    """
    from declutch.envs.protocol import CountsGames

    if isinstance(suite, CountsGames):
        return suite.count_games()
    splits = ("train", "L0", "L1", "L2")
    return {split: Tally(task.kind for task in suite.tasks(split)) for split in splits}


def games_table(suite: Suite) -> Table:
    """Games of a suite by split and task type."""
    from rich import box
    from rich.table import Table

    from declutch.envs.alfworld.suite import AlfworldSuite

    counts = count_games(suite)
    where = f": {suite.root}" if isinstance(suite, AlfworldSuite) else ""
    table = Table(
        title=f"{suite.name}{where}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("task type", no_wrap=True)
    for split in counts:
        table.add_column(split, justify="right", no_wrap=True)
    for kind in dict.fromkeys(kind for kinds in counts.values() for kind in kinds):
        table.add_row(kind, *(str(kinds.get(kind, 0)) for kinds in counts.values()))
    table.add_section()
    totals = (str(sum(kinds.values())) for kinds in counts.values())
    table.add_row("all", *totals, style="bold")
    return table


def _check_official(config: Config, *, is_needed: bool) -> Finding:
    from declutch.envs.alfworld.suite import AlfworldSuite
    from declutch.envs.registry import alfworld_data_dir

    name = "official games"
    try:
        folder = alfworld_data_dir(config.env)
    except UserError as error:
        if is_needed:
            detail, _, remedy = str(error).partition(": ")
            return Finding(name, Status.PROBLEM, detail, remedy)
        return Finding(name, Status.OK, "not configured; the generated games need none")
    remedy = "correct env.data_dir (or ALFWORLD_DATA), or get the games with alfworld-download"
    finding = _describe_suite(name, AlfworldSuite(folder, "alfworld"), config, remedy)
    if finding.status is Status.PROBLEM and not is_needed:
        return Finding(name, Status.WARN, finding.detail, finding.remedy)
    return finding


def _describe_suite(name: str, suite: AlfworldSuite, config: Config, remedy: str) -> Finding:
    try:
        counts = suite.count_games()
    except UserError as error:
        detail, _, own_remedy = str(error).partition("; ")
        return Finding(name, Status.PROBLEM, detail, own_remedy or remedy)
    detail = f"{suite.root}\n{_format_counts(counts)}"
    empty = empty_levels(counts, (config.train.split, *config.eval.levels))
    if empty:
        detail += f"\nno game for {', '.join(empty)}"
        return Finding(name, Status.PROBLEM, detail, remedy)
    return Finding(name, Status.OK, detail)


def empty_levels(counts: Counts, names: Sequence[str]) -> list[str]:
    """Those of the splits and levels `names` that have no game."""
    return [name for name in dict.fromkeys(names) if not _count_level(counts, name)]


def _count_level(counts: Counts, name: str) -> int:
    from declutch.envs.splits import ALFWORLD_LEVELS

    level = ALFWORLD_LEVELS.get(name)
    if level is None:
        return 0
    kinds = counts.get(level.split, {})
    return sum(count for kind, count in kinds.items() if not level.kinds or kind in level.kinds)


def _format_counts(counts: Counts) -> str:
    """Task types down, splits across, right-aligned."""
    kinds = dict.fromkeys(kind for split in counts.values() for kind in split)
    width = max(map(len, ("all", *kinds)))
    lines = [" " * width + "".join(f" {split}" for split in counts)]
    lines += [
        f"{kind:{width}}" + "".join(f" {counts[s].get(kind, 0):>{len(s)}}" for s in counts)
        for kind in kinds
    ]
    lines.append(
        f"{'all':{width}}" + "".join(f" {sum(counts[s].values()):>{len(s)}}" for s in counts)
    )
    return "\n".join(lines)


def _declared_requirements() -> list[Requirement] | None:
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("declutch") or []
    except metadata.PackageNotFoundError:
        return None
    requirements = [Requirement(line) for line in lines]
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]


def _installed_version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _num_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _gpu_names() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    devices = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return [f"{device.name}, {device.total_memory / GIB:.0f} GiB" for device in devices]


def _has(folder: Path, file: str) -> bool:
    return (folder / file).is_file()
