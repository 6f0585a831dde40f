"""Damage files of every kind that is read from disk, and see what their readers make of it.

    python benchmarks/damage.py --cases 10000 --workers 2

A tiny run is made first, so that the files are real ones. Each case copies the files of one kind,
damages one of them (flipped bits, a cut end, a piece that is missing, doubled or foreign, or a
value of another type), and reads them as commands do, in a process that may crash. A case ends in

- "as before": what was read is what was written (spaces, a cache that is made anew);
- "message": one `UserError`, or a note on the report's page;
- "another value": the file is as well-formed as before and holds another value, which only a
  checksum could notice;
- "silent loss": rows, games or files are gone without a word, or anything at all differs in a file
  that has a checksum (a file of somebody else's that states no number of rows may end anywhere);
- "traceback": any other exception, or a message of several lines;
- "crash": the process died.

The seed of a case is its number: --first repeats single ones.
"""

import argparse
import contextlib
import copy
import hashlib
import io
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import random
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

OUTCOMES = ("as before", "message", "another value", "silent loss", "traceback", "crash")
BASE = {
    "threads": 1,
    "env": {
        "suite": "households",
        "max_steps": 6,
        "households": {"train": 12, "valid_seen": 12, "valid_unseen": 12},
    },
    "tiny": {
        "hidden_size": 32,
        "num_layers": 2,
        "intermediate_size": 64,
        "vocabulary_episodes": 60,
    },
    "sft": {"num_episodes": 12, "epochs": 1, "lr": 5e-3, "judge_samples": 8},
    "train": {
        "iterations": 2,
        "tasks_per_iteration": 2,
        "group_size": 3,
        "save_every": 1,
        "save_episodes": 4,
    },
    "loss": {"kl_coef": 0.0},
    "optimizer": {"lr": 1e-3, "mini_batch": None, "num_mini_batches": 2},
    "gcd": {"num_questions": 2, "num_judgments": 2},
    "eval": {"every": 1, "max_games": 2, "judge": True, "judge_steps": 4},
}
"""Settings of the run whose files are damaged, small enough for a minute."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: where it is, how it is read, and whether a checksum guards it.

    Attributes:
        folder: what is copied for a case, below the base.
        files: those of it that are damaged, as a pattern.
        read: reads them; gives what was read, how much of it there is, and what was noted.
        is_checked: no difference at all may pass.
        share: how many cases it gets in relation to others; fewer where reading takes long.
    """

    folder: str
    files: str
    read: Callable[[Path], tuple[Any, tuple[int, ...], list[str]]]
    is_checked: bool = False
    share: int = 5


# How each kind is read -----------------------------------------------------------------------


def read_settings(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.config.files import load_config

    return load_config([folder / "settings.yaml"]), (), []


def read_demonstrations_file(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.cold_start.demonstrations import read_demonstrations

    header, episodes = read_demonstrations(folder / "demonstrations.jsonl")
    return (header, episodes), (len(episodes), sum(len(each.steps) for each in episodes)), []


def read_state(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    """Load a checkpoint's state and take the step that is fatal with a wrong one."""
    from declutch.config.algorithm import OptimizerConfig
    from declutch.learner.checkpoint import load_checkpoint
    from declutch.learner.optimizer import build_optimizer

    found = load_checkpoint(folder)
    shapes = json.loads((folder.parent / "shapes.json").read_text())
    model = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(shape)) for shape in shapes])
    optimizer = build_optimizer(model, OptimizerConfig())
    found.restore(optimizer)
    for parameter in model:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model)).hexdigest()
    return (found.iteration, sorted(found.parts), digest), (), []


def read_model(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.config.policy import ModelConfig
    from declutch.models.load import load_model

    model, tokenizer = load_model(folder, ModelConfig(device="cpu"))
    with torch.no_grad():
        scores = model(torch.arange(5)[None]).logits
    ids = tokenizer.encode("look at mug 1 go to desk 2")
    return (scores.numpy().tobytes(), ids), (), []


def read_head(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.learner.value_head import load_layer

    layer = torch.nn.Linear(32, 1)
    if not load_layer(layer, folder):
        raise AssertionError("no head")
    return layer.weight.detach().numpy().tobytes(), (), []


def read_facts(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.cold_start.facts import read_cold_start

    return read_cold_start(folder), (), []


def read_report(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.report.build import build_report
    from declutch.report.episodes import pack_episodes
    from declutch.runs.folder import RunFolder
    from declutch.runs.read import read_run

    page = build_report(folder).read_text(encoding="utf-8")
    data = read_run(RunFolder(folder))
    episodes = pack_episodes(data.episode_files)
    size = (
        sum(len(row) for row in data.metrics),
        len(data.evaluations) + len(data.others),
        sum(len(each.result.games) for each in data.evaluations),
        len(data.facts),
        len(data.suggestions),
        episodes.num_saved,
    )
    return page, size, [*data.notes, *episodes.notes]


def read_run_settings(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.runs.folder import RunFolder

    return RunFolder(folder).read_config(), (), []


def read_advice_file(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.runs.folder import RunFolder
    from declutch.train.suggest import read_advice

    found = read_advice(RunFolder(folder), 1, 1)
    return found, (len(found),), []


def read_game(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.envs.alfworld.suite import AlfworldSuite

    suite = AlfworldSuite(folder, name="households", cache_dir=None)
    (task,) = suite.tasks("train")
    return play(suite, task), (), []


def read_compiled(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.envs.alfworld.suite import AlfworldSuite

    suite = AlfworldSuite(folder, name="households", cache_dir=folder / "cache")
    (task,) = suite.tasks("train")
    return play(suite, task), (), []


def play(suite: Any, task: Any) -> list[str]:
    env = suite.make_env()
    told = [env.reset(task)]
    for number in range(4):
        commands = told[-1].admissible
        told.append(env.step(commands[number % len(commands)] if commands else "look").observation)
    return [f"{each.text} {each.admissible}" for each in told]


def read_stamp(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.envs.households.generate import HouseholdCounts, generate_households

    return generate_households(folder, 0, HouseholdCounts(1, 0, 0)), (), []


def read_problems(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.envs.math.problems import read_math
    from declutch.envs.math.suite import MathSuite
    from declutch.runs.claims import bind_tasks
    from declutch.runs.folder import RunFolder

    # The file is somebody else's and says nowhere how many problems it holds. The run knows that
    # reads it again, as here.
    problems = read_math(folder / "math.jsonl")
    suite, run = MathSuite(problems), RunFolder(folder)
    is_start = not run.tasks_path.exists()
    known = [name for name in problems if problems[name]]
    names = known if is_start else json.loads(run.tasks_path.read_text())
    bind_tasks(run, {name: suite.tasks(name) for name in names}, is_start)
    return problems, (), []


def read_generated(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.envs.math.problems import generate_math

    found = generate_math(0, {"train": 3, "dev": 1, "test": 1}, folder)
    return found, tuple(map(len, found.values())), []


def read_gold(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.envs.scienceworld.gold import GoldCache
    from declutch.records import TaskId

    task = TaskId("scienceworld", "train", 0, "boil/0", "boil")
    found = GoldCache(folder).read(task)
    return found, (), [] if found else ["made anew"]


def read_reply(folder: Path) -> tuple[Any, tuple[int, ...], list[str]]:
    from declutch.endpoint.cache import ReplyCache

    found = ReplyCache(folder).read("ab" * 32)
    return found, (), [] if found is not None else ["asked again"]


KINDS: dict[str, Kind] = {
    "settings": Kind("settings", "settings.yaml", read_settings),
    "demonstrations": Kind(
        "demonstrations", "demonstrations.jsonl", read_demonstrations_file, is_checked=True
    ),
    "checkpoint: trainer.pt": Kind("checkpoint", "one/trainer.pt", read_state, is_checked=True),
    "checkpoint: manifest.json": Kind("checkpoint", "one/manifest.json", read_state, True),
    "checkpoint without manifest: trainer.pt": Kind("former", "one/trainer.pt", read_state),
    "model: weights": Kind("cold", "model.safetensors", read_model, is_checked=True, share=1),
    "model: other files": Kind("cold", "*[!m][!o].json", read_model, is_checked=True, share=1),
    "model without manifest: all files": Kind("bare", "*", read_model, share=1),
    "value head": Kind("cold", "value_head.pt", read_head, is_checked=True),
    "facts of the cold start": Kind("cold", "cold_start.json", read_facts, is_checked=True),
    "report: metrics": Kind("run", "metrics.jsonl", read_report, share=1),
    "report: evaluations": Kind("run", "evals/*.json", read_report, is_checked=True, share=1),
    "report: episodes": Kind("run", "episodes/*.jsonl", read_report, share=1),
    "report: suggestions": Kind("run", "suggestions/*.json", read_report, share=1),
    "report: settings": Kind("run", "config.yaml", read_report, share=1),
    "report: facts": Kind("run", "cold_start.json", read_report, share=1),
    "run's settings": Kind("run", "config.yaml", read_run_settings),
    "advice": Kind("run", "advice/*.jsonl", read_advice_file),
    "game file": Kind("game", "json_2.1.1/*/*/*/game.tw-pddl", read_game),
    "compiled game": Kind("game", "cache/*/*/*.world", read_compiled, is_checked=True),
    "households' stamp": Kind("game", "households.json", read_stamp, is_checked=True),
    "MATH file": Kind("math", "math.jsonl", read_problems),
    "generated problems": Kind("generated", "math-*.json", read_generated),
    "gold path": Kind("gold", "*/*/*.json", read_gold),
    "reply of an endpoint": Kind("replies", "*/*.json", read_reply),
}


# The files -------------------------------------------------------------------------------------


def build(base: Path) -> None:
    """Make one good example of every kind."""
    build_small(base)
    build_run(base)


def build_small(base: Path) -> None:
    """Make the examples that need no training."""
    from declutch.config.files import dump_config
    from declutch.config.run import Config
    from declutch.endpoint.cache import ReplyCache
    from declutch.envs.households.generate import HouseholdCounts, generate_households
    from declutch.envs.math.problems import generate_math
    from declutch.envs.scienceworld.gold import GoldCache, GoldPath
    from declutch.records import TaskId

    (base / "settings").mkdir()
    (base / "settings" / "settings.yaml").write_text(dump_config(Config()))
    build_models(base)
    generate_households(base / "game", 0, HouseholdCounts(1, 0, 0))
    read_compiled(base / "game")
    (base / "math").mkdir()
    lines = [
        {"problem": f"What is {n} + 1?", "type": "Algebra", "solution": f"\\boxed{{{n + 1}}}"}
        for n in range(20)
    ]
    (base / "math" / "math.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    read_problems(base / "math")
    (base / "generated").mkdir()
    generate_math(0, {"train": 3, "dev": 1, "test": 1}, base / "generated")
    task = TaskId("scienceworld", "train", 0, "boil/0", "boil")
    GoldCache(base / "gold").write(task, GoldPath(("look", "wait"), 5, 100))
    ReplyCache(base / "replies").write("ab" * 32, "m", "a text of some length")


def build_models(base: Path) -> None:
    """A model folder and a checkpoint of a tiny model, each with its manifest and without."""
    from declutch.cold_start.facts import ColdStart
    from declutch.cold_start.tiny import init_tiny
    from declutch.config.algorithm import OptimizerConfig
    from declutch.config.policy import TinyConfig
    from declutch.learner.checkpoint import save_checkpoint
    from declutch.learner.optimizer import build_optimizer
    from declutch.learner.value_head import HEAD_FILE, layer_bytes
    from declutch.models.save import save_model

    sizes = TinyConfig(hidden_size=32, num_layers=2, intermediate_size=64)
    texts = ["look at the mug 1 and go to the desk 2"]
    model, tokenizer = init_tiny(base / "made", texts, sizes, seed=0)
    files = {
        "cold_start.json": json.dumps(vars(ColdStart("strict", 12, 30))).encode(),
        HEAD_FILE: layer_bytes(torch.nn.Linear(32, 1)),
    }
    save_model(base / "cold", model, tokenizer, files)
    shutil.copytree(base / "cold", base / "bare")
    for name in ("manifest.json", *files):
        (base / "bare" / name).unlink(missing_ok=True)

    optimizer = build_optimizer(model, OptimizerConfig())
    model(torch.arange(5)[None], labels=torch.arange(5)[None]).loss.backward()
    optimizer.step()
    shapes = [list(parameter.shape) for parameter in model.parameters()]
    for name in ("checkpoint", "former"):
        save_checkpoint(base / name / "one", model, tokenizer, optimizer, 3)
        (base / name / "shapes.json").write_text(json.dumps(shapes))
    (base / "former" / "one" / "manifest.json").unlink(missing_ok=True)


def build_run(base: Path) -> None:
    """Demonstrations and the folder of a run, by a cold start and two iterations of training."""
    from declutch.cold_start.pipeline import make_cold_start
    from declutch.config.files import change_config, parse_config
    from declutch.envs.registry import make_suite
    from declutch.report.live import TrainWatcher
    from declutch.runs.folder import RunFolder
    from declutch.train.loop import train

    @contextlib.contextmanager
    def silent(name: str):
        yield lambda done, total: None

    config = parse_config(copy.deepcopy(BASE), "the benchmark")
    config = change_config(config, env={"cache_dir": str(base / "households")})
    suite = make_suite(config.env)
    cold, demonstrations = make_cold_start(config, suite, base / "trained", silent)
    (base / "demonstrations").mkdir()
    shutil.copy(demonstrations, base / "demonstrations" / "demonstrations.jsonl")
    config = change_config(config, model={"path": str(cold)})
    run = RunFolder(base / "run")
    run.write_config(config)
    with TrainWatcher(config.train.iterations, "damage") as view:
        train(config, run, suite, view)
    shutil.rmtree(base / "run" / "checkpoints")
    advice = {
        **{"text": "look for a mug in a cabinet", "iteration": 1, "task": "t", "episode": 0},
        **{"step": 1, "verdict": 1, "label": None},
    }
    path = run.advice_path(1)
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({**advice, "step": step}) + "\n" for step in range(5)))
    place = {"iteration": 1, "task": "t", "episode": 0, "step": 1}
    sentence = {"text": "look first", "count": 2, "places": [place]}
    theme = {
        **{"suggestion": "look first", "source": "medoid", "left_out": "", "medoid": "look"},
        **{"size": 2, "sentences": [sentence]},
    }
    version = {
        **{"iteration": 1, "first_iteration": 1, "suggestions": ["look first"], "note": ""},
        **{"num_advice": 2, "silhouette": 0.5, "themes": [theme]},
    }
    path = run.suggestions_path(1)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(version))


# The damage ------------------------------------------------------------------------------------


def damage(path: Path, draw: random.Random) -> str:
    """Damage a file in one of the ways that its ending allows; the way's name."""
    ways: list[Callable[[Path, random.Random], None]] = [flip, cut, remove, double, insert]
    if path.suffix in (".json", ".jsonl", ".yaml", ".tw-pddl"):
        ways += [retype, retype, retype]
    if path.suffix == ".pt":
        ways += [retype_tensors, retype_tensors, retype_tensors]
    way = draw.choice(ways)
    way(path, draw)
    return way.__name__


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 2, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def remove(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    start = draw.randrange(len(content))
    path.write_bytes(content[:start] + content[start + draw.randint(1, 200) :])


def double(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    start = draw.randrange(len(content))
    piece = content[start : start + draw.randint(1, 200)]
    path.write_bytes(content[:start] + piece + content[start:])


def insert(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    start = draw.randrange(len(content))
    piece = draw.choice((b"\x00", b"\xff\xfe", b"[" * 5000, b"NaN", b"\n", b"}", b'"', b"\\ud800"))
    path.write_bytes(content[:start] + piece + content[start:])


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


VALUES = (
    *(None, True, False, 0, -1, 3, 10**9, 10**50, 0.5, -2.5, 1e300, math.nan, math.inf, "", "text"),
    *("\ud800", "\x00", "../../etc", "<script>", [], [1, "a"], {}, {"a": 1}, nested(50), "9" * 400),
)
"""What a value is replaced by, whatever it was."""


def retype(path: Path, draw: random.Random) -> None:
    """Replace, remove or rename a value somewhere in JSON or YAML."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        data = change(yaml.safe_load(text), draw)
        # Written by hand where the library itself refuses to write it.
        path.write_text(json.dumps(data), encoding="utf-8", errors="surrogatepass")
        return
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    number = draw.randrange(len(lines))
    lines[number] = json.dumps(change(json.loads(lines[number]), draw))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def change(data: Any, draw: random.Random) -> Any:
    """Change one place in nested data; at the top now and then."""
    places = list(walk(data))
    if not places or draw.random() < 0.05:
        return draw.choice(VALUES)
    holder, key = draw.choice(places)
    way = draw.choice(("replace", "replace", "replace", "remove", "rename"))
    if way == "remove":
        del holder[key]
    elif way == "rename" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    else:
        holder[key] = draw.choice(VALUES)
    return data


def walk(data: Any):
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        yield data, key
        if isinstance(value, dict | list):
            yield from walk(value)


def retype_tensors(path: Path, draw: random.Random) -> None:
    """Change a value, a shape or a type in what torch saved."""
    data = torch.load(path, weights_only=True)
    places = list(walk_tensors(data))
    holder, key = draw.choice(places)
    value = holder[key]
    if isinstance(value, torch.Tensor) and draw.random() < 0.7:
        holder[key] = draw.choice(
            (
                value.reshape(-1)[:1],
                torch.zeros(7, 3),
                value.double(),
                value.long(),
                torch.full(tuple(value.shape), torch.nan),
                torch.zeros(0),
                value.to_sparse() if value.dim() else value[None],
            )
        )
    else:
        holder[key] = draw.choice((None, 3, -1.5, "text", [], {}, torch.zeros(2)))
    buffer = io.BytesIO()
    torch.save(data, buffer)
    path.write_bytes(buffer.getvalue())


def walk_tensors(data: Any):
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        yield data, key
        if isinstance(value, dict | list):
            yield from walk_tensors(value)


# The cases -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What became of one case."""

    kind: str
    number: int
    way: str
    outcome: str
    detail: str = ""


def run_case(base: Path, name: str, number: int) -> Result:
    """Damage a fresh copy of a kind's files, and read it."""
    kind = KINDS[name]
    draw = random.Random(f"{name} {number}")
    with tempfile.TemporaryDirectory(prefix="damage-") as temporary:
        folder = Path(temporary) / kind.folder
        shutil.copytree(base / kind.folder, folder)
        start = folder / "one" if (folder / "one").is_dir() else folder
        whole, whole_size, whole_notes = read_whole(base, name)
        path = draw.choice(sorted(each for each in folder.glob(kind.files) if each.is_file()))
        before = path.read_bytes()
        way = damage(path, draw)
        where = f"{way} of {path.name}"
        if path.read_bytes() == before:
            return Result(name, number, where, "as before")
        try:
            found, size, notes = kind.read(start)
        except Exception as error:
            # By name, so that the script also reads what versions before this one raise.
            is_message = type(error).__name__ == "UserError" and "\n" not in str(error)
            detail = str(error) if is_message else traceback.format_exc()[-1500:]
            return Result(name, number, where, "message" if is_message else "traceback", detail)
        if digest(found) == whole:
            return Result(name, number, where, "as before")
        if notes and notes != whole_notes:
            return Result(name, number, where, "message", notes[0])
        is_loss = kind.is_checked or any(a < b for a, b in zip(size, whole_size, strict=True))
        return Result(name, number, where, "silent loss" if is_loss else "another value")


def digest(found: Any) -> str:
    """What was read, in short."""
    return hashlib.sha256(repr(found).encode("utf-8", "replace")).hexdigest()


@cache
def read_whole(base: Path, name: str) -> tuple[str, tuple[int, ...], list[str]]:
    """What a kind's reader makes of the whole files: its digest, its size, its notes."""
    with tempfile.TemporaryDirectory(prefix="damage-") as temporary:
        folder = Path(temporary) / KINDS[name].folder
        shutil.copytree(base / KINDS[name].folder, folder)
        found, size, notes = KINDS[name].read(
            folder / "one" if (folder / "one").is_dir() else folder
        )
        return digest(found), size, notes


def has_files(base: Path, name: str) -> bool:
    """Whether there are files of a kind; former versions write fewer kinds."""
    return any((base / KINDS[name].folder).glob(KINDS[name].files))


def work(base: Path, cases: list[tuple[str, int]], connection: Any) -> None:
    """Run cases in a process that may crash; each is named before it is tried."""
    torch.set_num_threads(1)
    import warnings

    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        for name, number in cases:
            connection.send((name, number))
            connection.send(run_case(base, name, number))
    connection.send(None)


def run_cases(
    base: Path, cases: list[tuple[str, int]], workers: int, seconds: float = math.inf
) -> list[Result]:
    """Run all cases in as many processes, or for a time; a crash costs its case and no other."""
    until = time.monotonic() + seconds
    context = multiprocessing.get_context("spawn")
    queues = [cases[start::workers] for start in range(workers)]
    results: list[Result] = []
    live: dict[Any, tuple[Any, int, tuple[str, int] | None]] = {}

    def start(slot: int) -> None:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(base, queues[slot], theirs))
        process.start()
        theirs.close()
        live[ours] = (process, slot, None)

    for slot in range(workers):
        start(slot)
    while live:
        if time.monotonic() > until:
            for process, *_ in live.values():
                process.kill()
            break
        for connection in multiprocessing.connection.wait(list(live), timeout=5):
            process, slot, current = live[connection]
            try:
                told = connection.recv()
            except EOFError:
                process.join()
                del live[connection]
                if current is not None:
                    detail = f"exit status {process.exitcode}"
                    results.append(Result(*current, "", "crash", detail))
                    queues[slot] = queues[slot][queues[slot].index(current) + 1 :]
                    start(slot)
                continue
            if told is None:
                live[connection] = (process, slot, None)
            elif isinstance(told, Result):
                results.append(told)
            else:
                live[connection] = (process, slot, told)
    return results


def table(results: list[Result]) -> str:
    """A Markdown table: kinds by outcomes."""
    counts = Counter((each.kind, each.outcome) for each in results)
    lines = [f"| kind | cases | {' | '.join(OUTCOMES)} |", "|---|" + "---|" * (len(OUTCOMES) + 1)]
    for name in [*KINDS, "all"]:
        row = [
            sum(n for (kind, seen), n in counts.items() if name in (kind, "all") and seen == each)
            for each in OUTCOMES
        ]
        if sum(row):
            lines.append(f"| {name} | {sum(row)} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="cases over all kinds")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after so many")
    parser.add_argument("--first", type=int, default=0, help="number of each kind's first case")
    parser.add_argument("--kinds", default="", help="part of the names of kinds to try alone")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--base", type=Path, help="a folder to keep the whole files in")
    parser.add_argument("--details", type=Path, help="a file for every case that went wrong")
    args = parser.parse_args()
    began = time.perf_counter()
    base = args.base or Path(tempfile.mkdtemp(prefix="damage-base-"))
    if not (base / "run").exists():
        build(base)
    names = [name for name in KINDS if args.kinds in name and has_files(base, name)]
    unit = args.cases / sum(KINDS[name].share for name in names)
    counts = {name: math.ceil(unit * KINDS[name].share) for name in names}
    cases = [
        (name, args.first + number)
        for number in range(max(counts.values()))
        for name in names
        if number < counts[name]
    ]
    results = run_cases(base, cases, args.workers, 60 * args.minutes)
    print(table(results))
    print(f"{len(results)} cases in {(time.perf_counter() - began) / 60:.1f} minutes")
    wrong = [each for each in results if OUTCOMES.index(each.outcome) > 2]
    if args.details is not None:
        args.details.write_text("".join(json.dumps(asdict(each)) + "\n" for each in wrong))
    if args.base is None:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
