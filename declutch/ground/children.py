"""Children, processes that this one starts, end when it does, even when it is killed.

Two ways at once, as neither holds alone. On Linux the kernel itself sends the signal, which needs
no thread of the child to get its turn. Everywhere a thread of the child waits at a pipe whose other
end only the parent holds: that it closes is the one thing that every death has in common.

A child of `multiprocessing` calls `end_with_parent`, which finds its pipe in `multiprocessing`. A
module that is run as a command of its own is started as `followed_command` says, with a pipe as its
standard input.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Final

GRACE_SECONDS: Final = 10.0
"""How long a child has to end in order once its parent is gone."""
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have this process, one of the children that `multiprocessing` starts, end with its parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _follow(parent.join)


def starting_context(*modules: str) -> BaseContext:
    """What starts processes of `multiprocessing` that are children in good order.

    They are never forked from this process, whose threads would not survive it. On Linux they are
    forked from a server that does nothing but import, so that the imports are made once for all of
    them, and at the same time as this process's own where the server is started early; elsewhere,
    where a fork does not survive some libraries at all, each is spawned.

    Args:
        modules: what they are to have imported. The first call decides; it starts the server.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with without_interrupts():
        forkserver.ensure_running()
    return context


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Have children that are started in the block know nothing of Ctrl-C, which is for the parent.

    What is pressed meanwhile comes after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def followed_command(module: str, arguments: Sequence[str]) -> list[str]:
    """The command line of a module as a child process that ends when its parent does.

    It has to be started with `stdin=subprocess.PIPE`, whose end here stays open; the module itself
    finds nothing to read.
    """
    return [sys.executable, "-m", "declutch.ground.children", module, *arguments]


def _follow(wait_for_end: Callable[[], object]) -> None:
    _ask_kernel()

    def watch() -> None:
        wait_for_end()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _ask_kernel() -> None:
    """Have Linux send SIGTERM at the parent's death, also to a child that is busy in C code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _take_standard_input() -> int:
    """Keep the pipe for the watch alone, and leave the module an empty standard input."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipe


def main() -> None:
    """Run the module that `followed_command` names, as `python -m` would, as a followed child."""
    pipe = _take_standard_input()
    _follow(lambda: os.read(pipe, 1))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
