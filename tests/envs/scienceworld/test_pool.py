"""Simulators are started when needed, reused, bounded, replaced, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from declutch.config import ScienceWorldConfig
from declutch.envs.scienceworld import pool as pool_module
from declutch.envs.scienceworld.pool import SimulatorPool
from declutch.envs.scienceworld.simulator import Launch, Simulator, SimulatorError
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.errors import UserError


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


@pytest.mark.java
@pytest.mark.slow
def test_every_episode_is_accounted_for_while_jvms_are_killed(launch):
    suite = ScienceWorldSuite(ScienceWorldConfig(actions="templates", max_live=2))
    tasks = [task for task in suite.tasks("L0") if task.kind == "find-living-thing"][:6]
    env, outcomes, pids = suite.make_env(), [], set()
    for number, task in enumerate(tasks):
        try:
            env.reset(task)
            pids.add(env._simulator.pid)
            if number % 3 == 1:
                os.kill(env._simulator.pid, signal.SIGKILL)
            env.step("look around")
            outcomes.append("played")
        except SimulatorError:
            outcomes.append("error")
    assert outcomes == ["played", "error", "played", "played", "error", "played"]
    env.close()
    suite.close()
    assert len(pids) == 3
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
