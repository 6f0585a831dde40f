"""`declutch doctor`: what a run needs and what is there, every problem with its remedy.

Nothing is changed or made.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import show
from declutch.ground.errors import Finding, Status, UserError, has_problem

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from declutch.config.run import Config
    from declutch.report.sheet import Sheet

GIB = 1024**3
MIN_PYTHON = (3, 11)
SCARCE_MEMORY, LITTLE_MEMORY = 1 * GIB, 2 * GIB
SCARCE_DISK, LITTLE_DISK = GIB // 2, 2 * GIB
MAIN_PACKAGES = ("torch", "transformers")


@grouped
def doctor_command(
    given: GivenSettings,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Estimate instead what memory training this model takes, and say what to set so "
            "that it fits: a folder with config.json, or a hub name. No weights are read.",
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(help="With --model: GiB of the device; by default this machine's."),
    ] = None,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            help="With --model: tokens of a prompt; by default 750 with agent.prompt=full, "
            "and 100 otherwise."
        ),
    ] = None,
) -> None:
    """Say what is installed and found, and the remedy of every problem; or what memory it takes."""
    settings = given.load()
    if model is not None:
        show(estimate(settings, model, memory, prompt_tokens))
        return
    if memory is not None or prompt_tokens is not None:
        raise UserError("--memory and --prompt-tokens belong to --model, which names the model")

    from declutch.report.findings import findings_sheet

    findings = diagnose(settings)
    show([findings_sheet(findings)])
    if has_problem(findings):
        raise typer.Exit(1)


def estimate(
    config: Config, model: str, gibibytes: float | None, prompt_tokens: int | None
) -> list[Sheet]:
    """`declutch doctor --model`: estimate the memory of training, and find settings that fit.

    Args:
        gibibytes: of the device; None asks this machine.
        prompt_tokens: of a prompt; None takes a usual number.
    Raises:
        UserError: the model's configuration cannot be read.
    """
    from declutch.models.outline import read_shapes
    from declutch.report.memory import memory_sheet
    from declutch.train.memory import Lengths, estimate_memory, find_fit

    usual = 750 if config.agent.prompt == "full" else 100
    lengths = Lengths(prompt_tokens or usual, config.agent.max_response_tokens)
    num_bytes = _device_memory(config) if gibibytes is None else int(gibibytes * GIB)
    shapes = read_shapes(model)
    found = estimate_memory(shapes, config, lengths)
    title = f"{model}: prompts of {lengths.prompt} tokens, responses of {lengths.response}"
    sheets = [memory_sheet(title, found)]
    fit = find_fit(shapes, config, lengths, num_bytes)
    size = f"{num_bytes / GIB:.0f} GiB, of which a tenth is left free"
    if fit is None:
        note = f"No setting was found with which it fits into {size}: take a smaller model."
    elif not fit[0]:
        note = f"It fits into {size}."
    else:
        changes = " ".join(fit[0])
        note = f"It fits into {size}, with {changes}"
        sheets.append(memory_sheet(f"with {changes}", fit[1]))
    sheets[-1] = replace(sheets[-1], notes=(note,))
    return sheets


def _device_memory(config: Config) -> int:
    """Bytes of the device that the model is to be on."""
    import psutil
    import torch

    from declutch.models.load import pick_device

    device = pick_device(config.model.device)
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def diagnose(config: Config) -> list[Finding]:
    """`declutch doctor`: check everything on this machine that a run with `config` needs."""
    import psutil
    import torch

    from declutch.envs.diagnosis import installed_version

    return [
        check_python(sys.version_info[:3]),
        *check_packages(_declared_requirements(), installed_version),
        *check_extras(),
        *check_games(config),
        check_model(config.model.path),
        check_cores(_num_cores(), config.threads, torch.get_num_threads(), config.processes),
        check_memory(psutil.virtual_memory().total, psutil.virtual_memory().available),
        check_disk(config.env.cache_dir.expanduser()),
        check_gpu(config, _gpu_names(), has_driver=shutil.which("nvidia-smi") is not None),
    ]


def check_python(version: tuple[int, int, int] | tuple[int, ...]) -> Finding:
    """`declutch doctor`: check that the Python interpreter is recent enough."""
    text = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if tuple(version[:2]) < MIN_PYTHON:
        wanted = ".".join(map(str, MIN_PYTHON))
        remedy = f"install Python {wanted} or newer and make a new environment with it"
        return Finding("Python", Status.PROBLEM, text, remedy)
    return Finding("Python", Status.OK, text)


def check_packages(
    requirements: Sequence[Requirement] | None, version_of: Callable[[str], str | None]
) -> list[Finding]:
    """`declutch doctor`: check that every required package is installed and recent enough.

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


def check_extras() -> list[Finding]:
    """`declutch doctor`: say which extras are installed, and the command that installs each other.

    None is a problem: what needs one says so.
    """
    from declutch.ground.extras import install_command, is_installed, list_extras, requirements_of

    findings, there = [], []
    for extra in list_extras():
        absent = [each for each in requirements_of(extra) if not is_installed(each)]
        if absent:
            detail = f"not installed: {', '.join(absent)}"
            findings.append(Finding(f"extra {extra}", Status.OK, detail, install_command(extra)))
        else:
            there.append(extra)
    if there:
        findings.insert(0, Finding("extras", Status.OK, f"installed: {', '.join(there)}"))
    return findings


def check_games(config: Config) -> list[Finding]:
    """`declutch doctor`: check for what the suite needs to play the configured levels."""
    from declutch.envs.registry import find_spec

    levels = (config.train.split, *config.eval.levels)
    return find_spec(config.env).diagnose(config.env, levels)


def check_model(path: str) -> Finding:
    """`declutch doctor`: check the model to start from, as far as a look at its folder tells."""
    name = "model"
    if not path:
        detail = "none configured (model.path); commands that need one take it as an argument"
        return Finding(name, Status.OK, detail, "declutch init-tiny FOLDER makes a small one")
    folder = Path(path).expanduser()
    if not folder.exists():
        from declutch.models.find import looks_like_folder

        if looks_like_folder(path):
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


def check_cores(num_cores: int, wanted: int | None, current: int, processes: int = 1) -> Finding:
    """`declutch doctor`: check this process's cores against the threads that PyTorch will use.

    Args:
        processes: of a run; each of several has one thread where no number is wanted.
    """
    if processes > 1:
        threads = wanted or 1
        detail = f"{num_cores} cores, {processes} processes of {threads} PyTorch thread(s) each"
        if processes * threads > num_cores:
            remedy = f"set processes, times threads, to {num_cores} or less"
            return Finding("cores", Status.WARN, detail, remedy)
        return Finding("cores", Status.OK, detail)
    threads = wanted or current
    detail = f"{num_cores} cores for this process, {threads} PyTorch threads"
    if threads > num_cores:
        remedy = f"set threads={num_cores} or less: more threads than cores slow each other down"
        return Finding("cores", Status.WARN, detail, remedy)
    return Finding("cores", Status.OK, detail)


def check_memory(total: int, available: int) -> Finding:
    """`declutch doctor`: check that there is memory enough; both numbers are in bytes."""
    detail = f"{available / GIB:.1f} of {total / GIB:.1f} GiB available"
    if available < LITTLE_MEMORY:
        status = Status.PROBLEM if available < SCARCE_MEMORY else Status.WARN
        remedy = "close other programs, or lower rollout.max_batch and optimizer.micro_batch_tokens"
        return Finding("memory", status, detail, remedy)
    return Finding("memory", Status.OK, detail)


def check_disk(cache_dir: Path, free: int | None = None) -> Finding:
    """`declutch doctor`: check that the cache folder can be written and has room.

    Args:
        free: bytes on the disk, for tests; None asks the system.
    """
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
    """`declutch doctor`: check the CUDA devices that PyTorch can use against the settings.

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


def _declared_requirements() -> list[Requirement] | None:
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("declutch") or []
    except metadata.PackageNotFoundError:
        return None
    requirements = [Requirement(line) for line in lines]
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]


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
