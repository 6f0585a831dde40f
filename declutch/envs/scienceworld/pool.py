"""A bounded number of live simulators, handed from environment to environment.

A simulator takes seconds to start and some 200 MiB, and plays any number of episodes in turn.
"""

from __future__ import annotations

import psutil

from declutch.envs.scienceworld.simulator import Launch, Simulator
from declutch.ground.errors import UserError

# The memory of a JVM outside its heap: code, class data, threads, and what the compiler needs.
_BEYOND_HEAP_MIB = 120
_MIB = 2**20


class SimulatorPool:
    """A pool of a bounded number of ScienceWorld simulators, lent; it replaces those that died."""

    def __init__(self, launch: Launch, capacity: int) -> None:
        """
        Args:
            launch: how simulators are started.
            capacity: simulators alive at once, lent and idle.
        """
        self._launch = launch
        self._capacity = capacity
        self._lent: set[Simulator] = set()
        self._idle: list[Simulator] = []

    @property
    def num_live(self) -> int:
        """How many simulators run now."""
        return sum(simulator.is_alive for simulator in (*self._lent, *self._idle))

    def acquire(self) -> Simulator:
        """Lend a simulator that lives, to be given back with `release`.

        Raises:
            UserError: all are lent, or there is no memory for even one.
        """
        self._idle = [simulator for simulator in self._idle if _keep_if_alive(simulator)]
        if not self._idle:
            self._start_some()
        simulator = self._idle.pop()
        self._lent.add(simulator)
        return simulator

    def prepare(self, count: int) -> None:
        """Have so many simulators, lent and idle, started side by side, as far as memory allows.

        Each takes most of a second to start, which whoever acquires one after the other would wait
        for every time.
        """
        self._idle = [simulator for simulator in self._idle if _keep_if_alive(simulator)]
        missing = min(count, self._capacity) - len(self._lent) - len(self._idle)
        missing = min(missing, self._available() // self._need)
        self._idle += [Simulator(self._launch) for _ in range(missing)]

    def release(self, simulator: Simulator) -> None:
        """Give back a simulator, alive or dead."""
        self._lent.remove(simulator)
        if _keep_if_alive(simulator):
            self._idle.append(simulator)

    def close(self) -> None:
        """End all simulators, also those that are lent."""
        for simulator in (*self._lent, *self._idle):
            simulator.close()
        self._idle.clear()

    @property
    def _need(self) -> int:
        """MiB that a simulator may take."""
        return self._launch.heap_mib + _BEYOND_HEAP_MIB

    def _available(self) -> int:
        return psutil.virtual_memory().available // _MIB

    def _start_some(self) -> None:
        """Start as many as are lent (1, 1, 2, 4, ...), so that the later ones start together."""
        if len(self._lent) >= self._capacity:
            raise UserError(
                f"all {self._capacity} simulators are in use; raise env.scienceworld.max_live or "
                "play fewer episodes at once"
            )
        need, available = self._need, self._available()
        if available < need:
            raise UserError(
                f"a ScienceWorld simulator may take {need} MiB and {available} MiB are available "
                f"beside the {len(self._lent)} in use; lower env.scienceworld.max_live "
                f"(now {self._capacity}) or env.scienceworld.heap_mib (now {self._launch.heap_mib})"
            )
        count = min(max(1, len(self._lent)), self._capacity - len(self._lent), available // need)
        self._idle += [Simulator(self._launch) for _ in range(count)]


def _keep_if_alive(simulator: Simulator) -> bool:
    """Whether it lives; what has died is cleared away."""
    if not simulator.is_alive:
        simulator.close()
    return simulator.is_alive
