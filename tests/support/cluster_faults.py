"""`declutch cluster train` whose processes are killed, and whose disk is full, as it trains.

    python cluster_faults.py FOUND.json FAULT[,FAULT] RUN_DIR [KEY=VALUE]...

FAULT is "player:N" (one of the processes that play is killed in the Nth iteration of this command),
"disk:N" (the learner's ranks find the disk full at the checkpoint of iteration N) or "rank:N" (the
process of one of them is killed at the Nth optimizer step of this command). FOUND.json is told what
was seen.
"""

import json
import resource
import signal
import sys
import threading
from pathlib import Path

import psutil

from declutch.cli.main import main
from declutch.cluster.play import Players
from declutch.cluster.verl import Workers
from declutch.train.on_cluster import ClusterLearner

SMALL = 4096
"""As many bytes may a file have where the disk is full."""
FOUND = {}


def processes(name):
    """The processes of this run by the name that Ray gives them."""
    of_run = psutil.Process().children(recursive=True)
    return [each for each in of_run if any(name in word for word in each.cmdline()[:1])]


def kill_player(at):
    collect, calls = Players.collect, []

    def collect_and_kill(self, *given):
        calls.append(1)
        if len(calls) != at:
            return collect(self, *given)
        players = processes("ray::Player")
        FOUND["players"] = len(players)
        threading.Timer(0.3, lambda: players[0].send_signal(signal.SIGKILL)).start()
        episodes = collect(self, *given)
        FOUND["lost"] = [episode.error for episode in episodes]
        return episodes

    Players.collect = collect_and_kill


def fill_disk(at):
    save = ClusterLearner.save

    def save_on_full_disk(self, path, iteration, files):
        if iteration == at:
            for worker in processes("ray::WorkerDict"):
                _, most = worker.rlimit(resource.RLIMIT_FSIZE)
                worker.rlimit(resource.RLIMIT_FSIZE, (SMALL, most))
        return save(self, path, iteration, files)

    ClusterLearner.save = save_on_full_disk


def kill_rank(at):
    step, calls = Workers.step, []

    def step_and_kill(self, *given):
        calls.append(1)
        if len(calls) == at:
            processes("ray::WorkerDict")[1].send_signal(signal.SIGKILL)
        return step(self, *given)

    Workers.step = step_and_kill


def run():
    found = Path(sys.argv[1])
    make = {"player": kill_player, "disk": fill_disk, "rank": kill_rank}
    for fault in sys.argv[2].split(","):
        name, _, at = fault.partition(":")
        make[name](int(at))
    sys.argv = ["declutch", "cluster", "train", *sys.argv[3:]]
    try:
        main()
    finally:
        _, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=30)
        FOUND["left_over"] = [each.name() for each in alive]
        found.write_text(json.dumps(FOUND))


if __name__ == "__main__":
    run()
