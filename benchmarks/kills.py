"""What is lost when commands are killed at any moment, torn off their disk, and started again.

    python benchmarks/kills.py [--cases 20] [--only "train;sft"] [--seed 0] [--minutes 20]

Each job (training in several ways, a cold start, demonstrations, an evaluation, a comparison, the
demo) is first run to its end, and the events are counted that change its files. Then it is run
again and again, dies by SIGKILL at one of these events (or while it writes, or at a random time, or
twice), and is started again as a user would: by the same command, and `train --resume` where a run
has settings on record. Afterwards every file must be there and say what it says in the run that was
never killed: rows of metrics, episodes, evaluations, weights and optimizer states to the last bit,
less the seconds that something took. Two more kinds of trouble are a full disk and a file system
that can only be read, from some event on: one message and status 2, and nothing lost when there is
space again.

The last kind of trouble is a file system that is really too small, which takes root to make and
is left out for others.

The table counts cases and those that failed, by job and trouble; the exit status says whether any
did. `--package` runs the same against another checkout.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENDS = ("kill", "torn", "random time", "twice", "full disk", "small disk", "read-only")

SETTINGS = {
    "threads": 1,
    "env": {
        "suite": "households",
        "cache_dir": "../cache",
        "max_steps": 2,
        "households": {"train": 12, "valid_seen": 6, "valid_unseen": 6},
    },
    "agent": {"max_response_tokens": 6},
    "tiny": {
        "hidden_size": 16,
        "num_layers": 1,
        "num_heads": 2,
        "intermediate_size": 16,
        "vocabulary_episodes": 12,
    },
    "sft": {"num_episodes": 8, "epochs": 1, "lr": 5e-3, "judge_samples": 4},
    "train": {
        "iterations": 4,
        "tasks_per_iteration": 2,
        "group_size": 2,
        "save_every": 2,
        "save_episodes": 2,
    },
    "loss": {"kl_coef": 0.0},
    "optimizer": {"lr": 1e-3, "mini_batch": None, "num_mini_batches": 2},
    "gcd": {"num_questions": 2, "num_judgments": 2, "max_response_tokens": 6},
    "eval": {"every": 2, "max_games": 1, "levels": ["L0"]},
}
FIRST = ["declutch.cli.main", "declutch.train.loop", "declutch.report.build"]
FIRST += ["declutch.cold_start.pipeline", "declutch.compare.sheets", "declutch.judge.themes"]
FIRST += ["transformers.models.qwen2.modeling_qwen2", "transformers.generation.utils"]
SUGGEST = ["gcd.enabled=true", "gcd.suggestions.enabled=true", "gcd.suggestions.every=1"]
SUGGEST += ["gcd.suggestions.advice_from=all", "eval.every=1"]
SETTING = ["--config", "../settings.yaml"]


@dataclass(frozen=True)
class Job:
    """A long command, and how it is started again after it died.

    Attributes:
        words: the command line.
        run: the run folder that is resumed where it has settings; None where the same command goes
            on.
        statuses: what it may end with on a disk that takes no more.
    """

    words: tuple[str, ...]
    run: str | None = None
    statuses: tuple[int, ...] = (0, 2)

    def again(self, folder: Path) -> list[str]:
        if self.run is not None and (folder / self.run / "config.yaml").exists():
            return ["train", self.run, "--resume"]
        return list(self.words)


def training(*settings: str) -> Job:
    return Job(("train", "run", *SETTING, "model.path=../cold", *settings), "run")


JOBS = {
    "train": training("gcd.enabled=true"),
    "train, each saved, one kept": training("train.save_every=1", "train.keep_checkpoints=1"),
    "train with suggestions": training(*SUGGEST),
    "train with KL": training("loss.kl_coef=0.01", "eval.every=0"),
    "train with LoRA": training(
        *("model.lora.rank=2", "loss.kl_coef=0.01", "gcd.enabled=true", "eval.every=0")
    ),
    "train by PPO": training("algorithm.type=ppo", "train.save_every=1", "eval.every=0"),
    "init-tiny": Job(("init-tiny", "tiny", *SETTING)),
    "demonstrations": Job(("demonstrations", "shown.jsonl", *SETTING)),
    "sft": Job(("sft", "../tiny", "cold", *SETTING)),
    "eval": Job(("eval", "../cold", *SETTING, "--out", "made/result.json")),
    "compare": Job(
        (
            *("compare", "grid", *SETTING, "--methods", "grpo", "--gcd", "off,on"),
            *("--seeds", "0", "--workers", "2", "train.iterations=2"),
        ),
        # Where runs fail, it says which, goes on with the others, and ends with 1.
        statuses=(0, 1, 2),
    ),
    "demo": Job(("demo", "demo", *SETTING, "gcd.enabled=true", "train.iterations=2")),
}
SHARES = {"train": 3.0, "compare": 1.5, "init-tiny": 0.5, "eval": 0.5}
"""Of the cases, by job, where it is not 1."""


@dataclass(frozen=True)
class Case:
    """One death, or refusal, of one job.

    Attributes:
        job, end: which, and how.
        at: the event; for a random time and a small disk, thousandths of what the job needs.
        then: the event of the second run, for "twice".
    """

    job: str
    end: str
    at: int
    then: int = 0


def plan_cases(counts: dict[str, int], number: int, seed: int) -> list[Case]:
    """About `number` cases, spread over jobs, ends and each job's events."""
    draw = random.Random(seed)
    whole = sum(SHARES.get(job, 1.0) for job in counts)
    weights = {"kill": 6, "torn": 1, "random time": 1, "twice": 2, "full disk": 1, "read-only": 1}
    weights["small disk"] = int(can_mount())
    cases = []
    for job, count in counts.items():
        wanted = max(1, round(number * SHARES.get(job, 1.0) / whole))
        ends = draw.sample(
            [end for end in ENDS for _ in range(weights[end] * wanted)],
            k=wanted,
        )
        if "kill" not in ends:
            ends[0] = "kill"
        for end, many in Counter(ends).items():
            for index in range(many):
                # Spread over the whole run: one at random in each part of it.
                low, high = (
                    index * count // many,
                    max(index * count // many, (index + 1) * count // many - 1),
                )
                at = 1 + draw.randint(low, high)
                if end in ("random time", "small disk"):
                    at = draw.randint(50, 950)
                cases.append(Case(job, end, at, 1 + draw.randrange(count) // 2))
    return cases


def run_case(case: Case, job: Job, whole: Path, folder: Path, seconds: float) -> str:
    """Run a job into its trouble and again; what is lost or wrong, "" for nothing."""
    import killing

    folder.mkdir()
    fault = killing.Fault(case.at, {"torn": killing.TEAR}.get(case.end, killing.DIE))
    if case.end in ("full disk", "read-only"):
        fault.kind = killing.FULL if case.end == "full disk" else killing.DENY
        status = killing.run(list(job.words), folder, fault)
        text = killing.output_of(folder)
        if status not in job.statuses or "Traceback" in text:
            return f"status {status}: {text[-300:]}"
    elif case.end == "small disk":
        mount(folder, max(sum(size_of(path) for path in whole.rglob("*")) * case.at // 1000, 8192))
        try:
            status = killing.run(list(job.words), folder, killing.Fault())
            text = killing.output_of(folder)
            if status not in job.statuses or "Traceback" in text:
                return f"status {status}: {text[-300:]}"
            mount(folder, 64 * 2**20, "remount,")
            return start_again(case, job, whole, folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    elif case.end == "random time":
        limit = max(seconds * case.at / 1000, 0.05)
        killing.run(list(job.words), folder, killing.Fault(), seconds=limit)
    else:
        killing.run(list(job.words), folder, fault)
    if case.end == "twice":
        killing.run(job.again(folder), folder, killing.Fault(case.then))
    return start_again(case, job, whole, folder)


def start_again(case: Case, job: Job, whole: Path, folder: Path) -> str:
    """Start a job again after its trouble; what is lost or wrong afterwards, "" for nothing."""
    import killing

    status = killing.run(job.again(folder), folder, killing.Fault())
    if status:
        return f"status {status} when started again: {killing.output_of(folder)[-400:]}"
    return "; ".join(differences(whole, folder))


def mount(folder: Path, size: int, options: str = "") -> None:
    """Make a folder a file system of so many bytes."""
    command = ["mount", "-t", "tmpfs", "-o", f"{options}size={size}", "declutch", str(folder)]
    subprocess.run(command, check=True)


def can_mount() -> bool:
    """Whether small file systems can be made here, for which one has to be root."""
    with tempfile.TemporaryDirectory(prefix="declutch-kills-") as name:
        try:
            mount(Path(name), 4096)
        except (subprocess.CalledProcessError, FileNotFoundError):
            return False
        subprocess.run(["umount", name], check=True)
        return True


def size_of(path: Path) -> int:
    """What a file takes of a small file system."""
    return -(-path.stat().st_size // 4096) * 4096


def differences(whole: Path, folder: Path) -> list[str]:
    """How the files of a job that was killed differ from those of one that never was."""
    there, here = files_of(whole), files_of(folder)
    found = [f"{name} is lost" for name in sorted(there - here)]
    found += [f"{name} is left over" for name in sorted(here - there)]
    for name in sorted(there & here):
        one, other = content(whole / name), content(folder / name)
        if one != other:
            found.append(f"{name} differs")
    return found


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


TIMED = re.compile(r"time/|.*seconds")
OF_TIMED = ("further", "sha256")
"""Checksums of what holds times: in the manifest of a checkpoint, and in an evaluation."""


def content(path: Path) -> Any:
    """What a file says, less the times that something took."""
    if path.suffix in (".html", ".log", ".csv", ".md") or path.name in (".lock", "output.txt"):
        return path.suffix
    if path.name == "trainer.pt":
        import torch

        state = torch.load(path, weights_only=True)
        # Training draws nothing from it; it is as whatever the process did before has left it.
        del state["torch_rng"]
        return flatten(state)
    if path.suffix in (".json", ".jsonl"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        return [timeless(json.loads(line)) for line in lines]
    return path.read_bytes()


def timeless(data: Any) -> Any:
    if isinstance(data, dict):
        kept = {k: v for k, v in data.items() if not TIMED.match(k) and k not in OF_TIMED}
        return {key: timeless(value) for key, value in kept.items()}
    return [timeless(each) for each in data] if isinstance(data, list) else data


def flatten(data: Any) -> Any:
    """A state of training as something that can be compared."""
    if hasattr(data, "numpy"):
        return data.dtype, data.shape, data.numpy().tobytes()
    if isinstance(data, dict):
        return {key: flatten(value) for key, value in data.items()}
    return [flatten(each) for each in data] if isinstance(data, list | tuple) else data


def set_up(
    base: Path, chosen: Sequence[str], note: Callable[[str], None]
) -> dict[str, tuple[int, float]]:
    """Make what the jobs start from, and run each of them whole; events and seconds by job."""
    import killing

    killing.prepare(lambda: FIRST)
    (base / "settings.yaml").write_text(json.dumps(SETTINGS))
    first = base / "first"
    first.mkdir()
    for words in (
        ["init-tiny", "../tiny", *SETTING],
        ["sft", "../tiny", "../cold", *SETTING],
    ):
        if killing.run(words, first):
            raise SystemExit(killing.output_of(first))
    # One of each kind of command that imports something only when it needs it.
    small = ["model.path=../cold", *SUGGEST, "train.iterations=1"]
    names = killing.modules_of(["train", "run", *SETTING, *small], first)
    names += killing.modules_of(["report", "run"], first)
    killing.prepare(lambda: [name for name in dict.fromkeys(names) if name != "__main__"])
    found = {}
    for name in chosen:
        folder = base / f"whole {name}"
        folder.mkdir()
        count, began = base / "count", time.monotonic()
        status = killing.run(list(JOBS[name].words), folder, killing.Fault(count_path=count))
        if status:
            raise SystemExit(f"{name}: {killing.output_of(folder)}")
        found[name] = int(count.read_text()), time.monotonic() - began
        note(f"{name}: {found[name][0]} events, {found[name][1]:.1f} s")
    return found


def run_campaign(
    number: int, chosen: Sequence[str], seed: int, note: Callable[[str], None], damaged: bool
) -> Iterator[tuple[Case, str]]:
    """Run the cases, and tell of each what is lost, "" for nothing; damaged folders come first."""
    with tempfile.TemporaryDirectory(prefix="declutch-kills-") as name:
        base = Path(name).resolve()
        sizes = set_up(base, chosen, note)
        for name, lost in run_damages(base) if damaged else ():
            yield Case("train with suggestions", name, 0), lost
        cases = plan_cases({job: count for job, (count, _) in sizes.items()}, number, seed)
        # In any order, so that a campaign that ends early has tried every job and trouble.
        random.Random(seed).shuffle(cases)
        for index, case in enumerate(cases):
            folder, whole = base / f"case {index}", base / f"whole {case.job}"
            lost = run_case(case, JOBS[case.job], whole, folder, sizes[case.job][1])
            yield case, lost
            shutil.rmtree(folder)


def edit_line(path: Path, number: int, text: str | None) -> None:
    """Replace a line of a file, or take it away."""
    lines = path.read_text().splitlines(keepends=True)
    lines[number : number + 1] = [] if text is None else [text]
    path.write_text("".join(lines))


def edit_setting(run: Path, before: str, after: str) -> None:
    path = run / "config.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def lose(*patterns: str) -> Callable[[Path], None]:
    """Take files or folders away."""

    def act(run: Path) -> None:
        found = [path for pattern in patterns for path in sorted(run.glob(pattern))]
        assert found
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return act


DAMAGES: dict[str, Callable[[Path], None]] = {
    "the last checkpoint's trainer.pt is gone": lose("checkpoints/iteration-00004/trainer.pt"),
    "all trainer.pt are gone": lose("checkpoints/*/trainer.pt"),
    "the last checkpoint is gone": lose("checkpoints/iteration-00004"),
    "checkpoints/ is gone": lose("checkpoints"),
    "metrics.jsonl is gone": lose("metrics.jsonl"),
    "metrics.jsonl and checkpoints/ are gone": lose("metrics.jsonl", "checkpoints"),
    "the first evaluation is gone": lose("evals/iteration_0000.json"),
    "a later evaluation is gone": lose("evals/iteration_0002.json"),
    "advice is gone": lose("advice/iteration_0003.jsonl"),
    "suggestions are gone": lose("suggestions/iteration_0002.json"),
    "row 1 is rubbish": lambda run: edit_line(run / "metrics.jsonl", 0, "rubbish\n"),
    "row 2 is rubbish": lambda run: edit_line(run / "metrics.jsonl", 1, "rubbish\n"),
    "row 2 is cut off": lambda run: edit_line(run / "metrics.jsonl", 1, '{"iteration": 2, "a'),
    "row 3 is gone": lambda run: edit_line(run / "metrics.jsonl", 2, None),
    "row 3 is another row 2": lambda run: edit_line(run / "metrics.jsonl", 2, '{"iteration": 2}\n'),
    "the learning rate was edited": lambda run: edit_setting(run, "lr: 0.001", "lr: 0.5"),
    "the seed was edited": lambda run: edit_setting(run, "seed: 0", "seed: 9"),
    "fewer iterations were edited": lambda run: edit_setting(run, "iterations: 4", "iterations: 3"),
}
"""What happens to a finished run of four iterations before more of it is asked for."""


def run_damages(base: Path) -> Iterator[tuple[str, str]]:
    """Resume damaged runs for two more iterations; which of their files were changed or lost."""
    import killing

    for number, (name, damage) in enumerate(DAMAGES.items()):
        folder = base / f"damaged {number}"
        shutil.copytree(base / "whole train with suggestions", folder)
        run = folder / "run"
        damage(run)
        before = {path: (run / path).read_bytes() for path in files_of(run)}
        more = [] if "edited" in name else ["train.iterations=6"]
        status = killing.run(["train", "run", "--resume", *more], folder, killing.Fault())
        text = killing.output_of(folder)
        after = {path: (run / path).read_bytes() for path in files_of(run)}
        lost = [
            path for path, content in before.items() if not after.get(path, b"").startswith(content)
        ]
        ours = ("config.yaml", "cold_start.json", "started.yaml")
        told = f"status {status}"
        if status != 2 or "Traceback" in text:
            lost = sorted(path for path in lost if path not in ours)
            yield name, f"{told}, changed or lost: {len(lost)} files {lost[:3]}"
        else:
            yield name, "" if after == before else f"{told}, but files changed"
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--only", default=",".join(JOBS), help="jobs, separated by semicolons")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after so many")
    parser.add_argument("--damages", action="store_true", help="also resume damaged run folders")
    parser.add_argument("--package", type=Path, default=ROOT, help="another checkout's folder")
    options = parser.parse_args()
    sys.path[:0] = [str(options.package.resolve()), str(ROOT / "tests" / "support")]
    chosen = list(JOBS) if options.only == ",".join(JOBS) else options.only.split(";")
    tried: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    losses: list[str] = []
    began = time.monotonic()
    for case, lost in run_campaign(options.cases, chosen, options.seed, print, options.damages):
        if time.monotonic() - began > 60 * options.minutes:
            break
        if case.end in DAMAGES:
            print(f"| {case.end} | {lost or 'refused, nothing changed'} |", flush=True)
            continue
        tried[case.job, case.end] += 1
        if lost:
            failed[case.job, case.end] += 1
            losses.append(lost)
            print(f"{case}: {lost[:600]}", flush=True)
    only_left = sum(all("left over" in part for part in lost.split("; ")) for lost in losses)
    print(f"{len(losses)} of {sum(tried.values())} failed, {only_left} of them by leftovers alone")
    print("| job | " + " | ".join(ENDS) + " | all |")
    print("|---" * (len(ENDS) + 2) + "|")
    for job in [*chosen, "all"]:
        cells = []
        for end in [*ENDS, "all"]:
            keys = [k for k in tried if job in (k[0], "all") and end in (k[1], "all")]
            cells.append(f"{sum(failed[k] for k in keys)} of {sum(tried[k] for k in keys)}")
        print(f"| {job} | " + " | ".join(cells) + " |")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
