"""Simulators are started when needed, reused, bounded, replaced, and leave nothing behind."""

import asyncio
import gc
import logging
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections import Counter

import psutil
import pytest

from declutch.config.env import ScienceWorldConfig
from declutch.envs.scienceworld import pool as pool_module
from declutch.envs.scienceworld.pool import SimulatorPool
from declutch.envs.scienceworld.simulator import UNKNOWN_ACTION, Launch, Simulator, SimulatorError
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.ground.errors import UserError
from declutch.records import Action, Completion, Outcome, Request, SamplingParams, empty_float
from declutch.rollout.collect import CollectParams, Play, collect


class FakeSimulator:
    started = 0

    def __init__(self, launch):
        FakeSimulator.started += 1
        self.is_alive = True

    def close(self):
        self.is_alive = False


@pytest.fixture
def make_pool(monkeypatch):
    monkeypatch.setattr(pool_module, "Simulator", FakeSimulator)
    monkeypatch.setattr(FakeSimulator, "started", 0)
    return lambda capacity: SimulatorPool(Launch("java"), capacity)


def test_simulators_start_in_growing_batches_up_to_the_capacity(make_pool):
    pool = make_pool(6)
    started = []
    for _ in range(6):
        pool.acquire()
        started.append(FakeSimulator.started)
    assert started == [1, 2, 4, 4, 6, 6]
    with pytest.raises(UserError, match=r"all 6 simulators .*env\.scienceworld\.max_live"):
        pool.acquire()
    pool.close()
    assert pool.num_live == 0


def test_as_many_as_are_asked_for_start_side_by_side(make_pool):
    pool = make_pool(6)
    pool.acquire()
    pool.prepare(4)
    assert FakeSimulator.started == 4
    for _ in range(3):
        pool.acquire()
    assert FakeSimulator.started == 4
    pool.prepare(3)
    pool.prepare(100)
    assert FakeSimulator.started == 6


def test_what_is_given_back_is_lent_again_unless_it_died(make_pool):
    pool = make_pool(2)
    first = pool.acquire()
    pool.release(first)
    assert pool.acquire() is first
    first.close()
    pool.release(first)
    second = pool.acquire()
    assert second is not first
    pool.release(second)
    second.close()
    assert pool.acquire() is not second
    assert pool.num_live == 1


def test_no_more_start_than_memory_allows(make_pool, monkeypatch):
    class Memory:
        available = 2**20 * 400

    monkeypatch.setattr(pool_module.psutil, "virtual_memory", lambda: Memory)
    pool = make_pool(8)
    pool.acquire()
    Memory.available = 2**20 * 200
    with pytest.raises(UserError, match=r"248 MiB and 200 MiB .* beside the 1 in use"):
        pool.acquire()
    pool.prepare(8)
    assert FakeSimulator.started == 1


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pid, seconds=30.0):
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_running(pid)


@pytest.mark.java
def test_a_killed_jvm_is_an_error_once_and_then_replaced(launch):
    pool = SimulatorPool(launch, 1)
    simulator = pool.acquire()
    simulator.load("boil", 0)
    os.kill(simulator.pid, signal.SIGKILL)
    with pytest.raises(SimulatorError, match="JVM"):
        simulator.step("look around")
    assert not os.path.exists(f"/proc/{simulator.pid}"), "a zombie is left"
    pool.release(simulator)
    other = pool.acquire()
    other.load("boil", 0)
    assert other.step("look around").text.startswith("This room")
    pool.close()
    assert not os.path.exists(f"/proc/{other.pid}")


@pytest.mark.java
def test_words_of_the_interface_take_no_step_and_keep_the_score(simulator):
    simulator.load("boil", 0)
    before = simulator.step("look around")
    for word, opening in (("help", "Possible actions"), (" Task ", "Task description")):
        reply = simulator.step(word)
        assert reply.text.startswith(opening)
        assert (reply.score, reply.is_done) == (before.score, before.is_done)
    assert simulator.step("look around") == before


def test_what_the_interface_says_to_a_choice_not_taken_is_said_to_the_letter():
    constants = pytest.importorskip("scienceworld.constants")
    with zipfile.ZipFile(constants.JAR_PATH) as jar:
        interface = jar.read("scienceworld/runtime/pythonapi/PythonInterface.class")
    text = UNKNOWN_ACTION.encode()
    # A constant of a class file: its tag, its length, its text.
    assert struct.pack(">BH", 1, len(text)) + text in interface


@pytest.mark.java
def test_episodes_leave_nothing_in_the_jvm(simulator):
    def num_kept():
        # Asking keeps two more: the gateway and its table.
        return simulator._gateway.java_gateway_server.getGateway().getBindings().size()

    simulator.load("boil", 0)
    before = num_kept()
    for variation in range(2):
        simulator.load("boil", variation)
        for _ in range(3):
            simulator.step("wait1")
    assert num_kept() == before + 2


@pytest.mark.java
def test_a_hanging_jvm_is_given_up_and_killed(launch):
    simulator = Simulator(Launch(launch.java, timeout_seconds=20.0))
    simulator.load("boil", 0)
    simulator._gateway._gateway_client.deque[0].socket.settimeout(0.5)
    os.kill(simulator.pid, signal.SIGSTOP)
    with pytest.raises(SimulatorError, match="failed or hung"):
        simulator.step("look around")
    assert not os.path.exists(f"/proc/{simulator.pid}")


@pytest.mark.java
def test_a_jvm_that_cannot_start_says_why(launch):
    simulator = Simulator(Launch(launch.java, heap_mib=10**9))
    with pytest.raises(SimulatorError, match=r"did not start: .*heap"):
        simulator.load("boil", 0)


@pytest.mark.java
def test_jvms_die_with_the_process_that_started_them_however_it_dies(launch):
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from declutch.envs.scienceworld.simulator import Launch, Simulator\n"
        f"simulator = Simulator(Launch(Path({str(launch.java)!r})))\n"
        "simulator.load('boil', 0)\n"
        "print(simulator.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    assert wait_for_end(int(done.stdout))


class Waiter:
    """A speaker and an engine that answer "wait1", and kill the oldest JVM at some answers.

    Args:
        spared: processes that are there before, which others made.
    """

    def __init__(self, kill_at, spared):
        self.kill_at, self.spared, self.num_read, self.killed = kill_at, spared, 0, []

    def request(self, view):
        return Request(empty_float().long())

    def sampling(self, temperature):
        return SamplingParams(temperature, 1, ())

    async def sample(self, request):
        await asyncio.sleep(0)  # Or one episode would play to its end before the next begins.
        return Completion(empty_float().long(), empty_float())

    def read(self, completion, admissible):
        self.num_read += 1
        if self.num_read in self.kill_at:
            children = {child.pid for child in psutil.Process().children()}
            self.killed.append(min(children - self.spared))
            os.kill(self.killed[-1], signal.SIGKILL)
        return Action("wait1", "", "", True, True)


@pytest.mark.java
@pytest.mark.slow
def test_every_episode_is_accounted_for_while_jvms_are_killed(launch, caplog):
    # A logged exception keeps its frames, and with them a socket, as long as pytest keeps the log.
    caplog.set_level(logging.CRITICAL + 1, logger="py4j")

    def traces():
        gc.collect()
        me = psutil.Process()
        return {child.pid for child in me.children()}, me.num_fds(), len(me.net_connections())

    before = traces()
    suite = ScienceWorldSuite(ScienceWorldConfig(actions="templates", max_live=2))
    tasks = [task for task in suite.tasks("L0") if task.kind == "find-living-thing"][:3]
    waiter = Waiter(kill_at=(1, 6), spared=before[0])
    plays = [Play(task, group, group) for group, task in enumerate(tasks * 2)]
    params = CollectParams(max_steps=2, temperature=1.0)
    episodes = collect(plays, suite, waiter, waiter, params)
    suite.close()
    outcomes = Counter(episode.outcome for episode in episodes)
    assert len(waiter.killed) == len(set(waiter.killed)) == 2
    assert outcomes == {Outcome.ENV_ERROR: 2, Outcome.TIMED_OUT: 4}
    assert all(("SimulatorError" in e.error) == (len(e.steps) < 2) for e in episodes)
    assert traces() == before
