"""Mutation score: how many small faults in what computes the tests notice (`make mutation`).

    python tests/mutation/run.py [--all] [--num 400] [--seed 0] [--only credit/table.py]

Every mutant of `mutants.py` is tried in a process of its own, forked from one that has collected
the tests that stand where its module stands, and those of `MORE_TESTS`; no others are run. A mutant
is killed when a test fails, when the module cannot be imported, or when the tests take longer than
`TIMEOUT` seconds. Those that change nothing that anyone could see are in `equivalent.toml`, each
with its reason, and do not count. The exit status is 1 below `WANTED`, or where the list has a
mutant that is killed or no longer there.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import inspect
import json
import os
import pickle
import random
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import pytest
from hypothesis import settings
from mutants import Mutant, apply_mutant, find_mutants

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "declutch"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
TIMEOUT = 120
MAX_EXAMPLES = 15
WANTED = 0.92
MODULES = (
    *(f"credit/{name}.py" for name in ("gigpo", "grpo", "hgpo", "nthr", "ppo", "registry", "rloo")),
    *(f"credit/{name}.py" for name in ("rlvmr", "segments", "table")),
    *("judge/brief.py", "judge/labels.py", "judge/questions.py", "judge/round.py"),
    *("learner/loss.py", "learner/pack.py", "learner/samples.py", "learner/update_stats.py"),
    *("evaluation/behaviour.py", "evaluation/intervals.py", "evaluation/variance.py"),
    "envs/alfworld/dynamics.py",
)
MORE_TESTS = {
    # What a method declares is a table in the tests of the registry.
    **{
        f"credit/{name}.py": ("credit/test_registry.py",)
        for name in ("gigpo", "grpo", "hgpo", "nthr", "ppo", "rloo", "rlvmr")
    },
    "credit/segments.py": ("credit/test_grpo.py", "credit/test_rlvmr.py"),
    "judge/brief.py": ("judge/test_llm_labels.py",),
    "learner/samples.py": ("learner/test_update.py",),
    "learner/update_stats.py": ("learner/test_update.py",),
    "evaluation/intervals.py": ("evaluation/test_summary.py",),
}
"""Tests of a module beside `test_MODULE.py` and `test_MODULE_ASPECT.py`."""
OPTIONS = (
    *("-x", "-q", "-s", "--no-header", "--no-summary", "-p", "no:cacheprovider"),
    *("-m", "not slow and not extra", "--disable-warnings"),
)


@dataclass(frozen=True)
class Trial:
    """A mutant of a module, and what became of it."""

    module: str
    mutant: Mutant
    outcome: str
    seconds: float

    @property
    def key(self) -> str:
        return f"{self.module} {self.mutant.key}"


class MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a changed syntax tree."""

    def __init__(self, name: str, path: Path, mutant: Mutant) -> None:
        self._name, self._path, self._mutant = name, path, mutant

    def find_spec(self, name, path=None, target=None):
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module) -> None:
        tree = apply_mutant(self._path.read_text(encoding="utf-8"), self._mutant)
        exec(compile(tree, str(self._path), "exec"), module.__dict__)


class Trials:
    """A plugin of pytest that runs the collected tests once in a fork for every mutant.

    Properties are tried with few examples, and the quickest tests come first, since most mutants
    are killed by any test.
    """

    def __init__(self, module: str, mutants: Sequence[Mutant]) -> None:
        self._module, self._mutants = module, mutants
        self._seconds: dict[str, float] = {}
        self.trials: list[Trial] = []
        self.is_child = False

    def pytest_sessionstart(self) -> None:
        # By now tests/conftest.py has made its own profile the default.
        settings.register_profile("mutation", settings.default, max_examples=MAX_EXAMPLES)
        settings.load_profile("mutation")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """None in a child, whose tests pytest then runs as ever; True in the process that forks."""
        if session.testsfailed or not session.items:
            raise SystemExit(f"no tests of {self._module} could be collected")
        handle, name = tempfile.mkstemp()
        os.close(handle)
        self._times = Path(name)
        # Without a change both ways of running must pass, or every mutant would seem killed.
        for is_anew in (True, False):
            outcome, _ = self._fork(session, None, is_anew=is_anew)
            if self.is_child:
                return None
            if outcome != "survived":
                raise SystemExit(f"the tests of {self._module} fail without any change")
        seconds = json.loads(self._times.read_text())
        self._times.unlink()
        session.items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
        needed = sum(seconds.values())
        print(f"{self._module}: {len(self._mutants)} mutants; tests of {needed:.1f} s", flush=True)
        for mutant in self._mutants:
            outcome, spent = self._fork(session, mutant)
            if self.is_child:
                return None
            self.trials.append(Trial(self._module, mutant, outcome, spent))
            if outcome != "killed":
                print(f"  {outcome}: {mutant.key}", flush=True)
        return True

    def pytest_sessionfinish(self) -> None:
        if self.is_child and self._times.exists():
            self._times.write_text(json.dumps(self._seconds))

    def _fork(
        self, session: pytest.Session, mutant: Mutant | None, is_anew: bool = False
    ) -> tuple[str, float]:
        """What became of a mutant, and in how many seconds; in the child it comes back at once."""
        began = time.monotonic()
        process = os.fork()
        if process == 0:
            self.is_child = True
            os.setpgid(0, 0)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            if is_anew or (mutant is not None and not swap_code(self._module, mutant)):
                _run_anew(self._module, mutant)
            return "", 0.0
        while mutant is None or time.monotonic() - began < TIMEOUT:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                is_passed = os.waitstatus_to_exitcode(status) == 0
                return "survived" if is_passed else "killed", time.monotonic() - began
            time.sleep(0.01)
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return "killed", float(TIMEOUT)


def swap_code(module: str, mutant: Mutant) -> bool:
    """Give the function around the mutant its changed code; false where there is no function.

    Whoever has imported the function has the changed one then, too.
    """
    loaded = sys.modules[_name_of(module)]
    source = (PACKAGE / module).read_text(encoding="utf-8")
    changed = dict(loaded.__dict__)
    old: object = loaded
    new: object = None
    for part in mutant.where.split("."):
        old = vars(old).get(part) if hasattr(old, "__dict__") else None
        function = _function_of(old)
        if function is not None:
            exec(compile(apply_mutant(source, mutant), loaded.__file__, "exec"), changed)
            new = changed[mutant.where.split(".")[0]]
            if part != mutant.where.split(".")[0]:
                new = vars(new)[part]
            fresh = _function_of(new)
            if fresh is None or fresh.__code__.co_freevars != function.__code__.co_freevars:
                return False
            function.__code__ = fresh.__code__
            function.__defaults__ = fresh.__defaults__
            function.__kwdefaults__ = fresh.__kwdefaults__
            return True
        if not isinstance(old, type):
            return False
    return False


def _function_of(found: object) -> FunctionType | None:
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, (staticmethod, classmethod)):
        found = found.__func__
    found = inspect.unwrap(found) if callable(found) and not isinstance(found, type) else found
    return found if isinstance(found, FunctionType) else None


def _run_anew(module: str, mutant: Mutant | None) -> None:
    """Import the changed module, all that imports it, and the tests once more, and run them."""
    touched = importers_of(module)
    tests = str(ROOT / "tests")
    for name, loaded in list(sys.modules.items()):
        is_test = str(getattr(loaded, "__file__", "")).startswith(tests)
        if name in touched or (is_test and loaded is not sys.modules["__main__"]):
            del sys.modules[name]
    if mutant is not None:
        sys.meta_path.insert(0, MutantFinder(_name_of(module), PACKAGE / module, mutant))
    code = 1
    try:
        code = int(pytest.main([*tests_of(module), *OPTIONS]))
    finally:
        os._exit(code)


def tests_of(module: str) -> list[str]:
    """Paths of the tests that a module's mutants are tried against."""
    path = ROOT / "tests" / module
    found = sorted(path.parent.glob(f"test_{path.stem}.py"))
    found += sorted(path.parent.glob(f"test_{path.stem}_*.py"))
    found += [ROOT / "tests" / more for more in MORE_TESTS.get(module, ())]
    return [str(each) for each in dict.fromkeys(found)]


def try_module(module: str, mutants: Sequence[Mutant]) -> list[Trial]:
    """Try a module's mutants in a process of its own, which has collected its tests."""
    receiver, sender = os.pipe()
    server = os.fork()
    if server:
        os.close(sender)
        with os.fdopen(receiver, "rb") as stream:
            answer = stream.read()
        os.waitpid(server, 0)
        if not answer:
            raise SystemExit(2)
        return pickle.loads(answer)
    os.close(receiver)
    plugin = Trials(module, mutants)
    code = 2
    try:
        code = int(pytest.main([*tests_of(module), *OPTIONS], plugins=[plugin]))
        if not plugin.is_child:
            with os.fdopen(sender, "wb") as stream:
                pickle.dump(plugin.trials, stream)
    finally:
        os._exit(code)


def _name_of(module: str) -> str:
    return "declutch." + module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def importers_of(module: str) -> set[str]:
    """Names of the package's modules that import this one, directly or not, and its own."""
    imports = {}
    for path in PACKAGE.rglob("*.py"):
        name = _name_of(str(path.relative_to(PACKAGE)))
        imports[name] = _imported_names(ast.parse(path.read_text(encoding="utf-8")))
    found = {_name_of(module)}
    while True:
        more = {name for name, names in imports.items() if names & found} - found
        if not more:
            return found
        found |= more


def _imported_names(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def read_equivalent() -> dict[str, str]:
    """Mutants that nobody can tell from the module: key -> reason."""
    if not EQUIVALENT.exists():
        return {}
    data = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {f"{each['module']} {each['mutant']}": each["reason"] for each in data.get("mutant", [])}


def choose(options: argparse.Namespace) -> list[tuple[str, list[Mutant]]]:
    """The mutants to try: all of the modules asked for, or as many as asked for at random.

    The draw takes as large a share of every module, so a module's mutants do not depend on others.
    """
    modules = options.only.split(",") if options.only else MODULES
    every = [
        (module, find_mutants((PACKAGE / module).read_text(encoding="utf-8"))) for module in modules
    ]
    total = sum(len(found) for _, found in every)
    print(f"{total} mutants of {len(every)} modules", flush=True)
    if options.all or options.num >= total:
        return every
    chosen = []
    for module, found in every:
        size = -(-len(found) * options.num // total)
        drawn = random.Random(f"{options.seed} {module}").sample(range(len(found)), size)
        chosen.append((module, [found[index] for index in sorted(drawn)]))
    return chosen


def report(trials: list[Trial], equivalent: dict[str, str], is_complete: bool) -> int:
    """Print the score by module and what survived; the exit status."""
    listed = {trial.key for trial in trials if trial.key in equivalent}
    print("\n| module | mutants | killed | survived | equivalent | score, % |")
    print("|---|---:|---:|---:|---:|---:|")
    totals: Counter[str] = Counter()
    for module in [*dict.fromkeys(trial.module for trial in trials), "all"]:
        mine = [trial for trial in trials if module in ("all", trial.module)]
        counted = [trial for trial in mine if trial.key not in listed]
        killed = sum(trial.outcome == "killed" for trial in counted)
        score = 100 * killed / len(counted) if counted else 100.0
        row = (module, len(mine), killed, len(counted) - killed, len(mine) - len(counted))
        print("| " + " | ".join(map(str, row)) + f" | {score:.1f} |")
        totals = Counter(counted=len(counted), killed=killed)
    for trial in trials:
        if trial.outcome != "killed" and trial.key not in listed:
            print(f"survived: {trial.module}:{trial.mutant.line} {trial.mutant.key}")
    wrong = [t.key for t in trials if t.key in listed and t.outcome == "killed"]
    if is_complete:
        wrong += sorted(set(equivalent) - {trial.key for trial in trials})
    for key in wrong:
        print(f"in {EQUIVALENT.name}, but killed or no longer there: {key}")
    return int(bool(wrong) or totals["killed"] < WANTED * totals["counted"])


def main() -> int:
    """Try the mutants and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=400, help="mutants, at random from all modules")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument(
        "--only", default="", help="modules, such as credit/table.py,credit/rloo.py"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "oracles")]
    equivalent = read_equivalent()
    chosen = choose(options)
    trials = []
    for module, found in chosen:
        trials += try_module(module, found)
    return report(trials, equivalent, is_complete=options.all and not options.only)


if __name__ == "__main__":
    sys.exit(main())
