"""Serve Treasure by OpenEnv in another process and play it by its client: many at once, one killed.

It is run in an environment that has the package: `python play_openenv.py`.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

from openenv.core import GenericEnvClient
from pages import ROOT, find_blocks

TREASURE = "examples.treasure:Treasure"
SERVE = """
import sys, uvicorn
from declutch.envs.adapters import openenv
made = []
class Counted(openenv.TextGame):
    def __init__(self, *options):
        super().__init__(*options); made.append(1); print("OPEN", flush=True)
    def close(self):
        super().close(); print("CLOSED", flush=True)
openenv.TextGame = Counted
app = openenv.create_app("examples.treasure:Treasure", "L0", 50, max_sessions=64)
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""
CLIENT = """
import asyncio, sys
from openenv.core import GenericEnvClient
async def hang():
    async with GenericEnvClient(base_url=sys.argv[1]) as env:
        await env.reset(seed=1); print("PLAYING", flush=True); await asyncio.sleep(600)
asyncio.run(hang())
"""


async def play(url, seed, others):
    """A whole game, with all the others connected before the first action."""
    async with GenericEnvClient(base_url=url) as env:
        seen = (await env.reset(seed=seed)).observation
        await others.wait()
        steps = []
        places = [c for c in seen["admissible"] if c.startswith("go to")]
        while places and not any(c.startswith("take") for c in seen["admissible"]):
            steps.append(places.pop())
            seen = (await env.step({"command": steps[-1]})).observation
        for command in (f"take {seen['kind']}", "go to boat", f"load {seen['kind']}"):
            result = await env.step({"command": command})
        return result.observation, result.reward, result.done


def find_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(port):
    for _ in range(1500):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def run_page():
    """Run the guide's server in a process and its client here, with a smaller environment."""
    text = (ROOT / "docs" / "guides" / "openenv.md").read_text(encoding="utf-8")
    serve, play = find_blocks(text, "python")
    port, printed = find_port(), []
    assert '"alfworld"' in serve
    assert "port=8000" in serve
    assert "127.0.0.1:8000" in play
    code = serve.replace('"alfworld"', repr(TREASURE)).replace("port=8000", f"port={port}")
    server = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        names = {"print": lambda *words: printed.append(words)}
        exec(play.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), names)
    finally:
        server.kill()
        server.wait()
    (words,) = printed
    return {"printed": words, "steps": names["result"].observation["num_steps"]}


async def main():
    port = find_port()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port)], stdout=subprocess.PIPE, text=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(port)
        others = asyncio.Barrier(64)
        began = time.perf_counter()
        won = await asyncio.gather(*(play(url, seed, others) for seed in range(64)))
        seconds = time.perf_counter() - began
        assert all(done and reward == 1.0 and seen["success"] for seen, reward, done in won), won
        steps = sum(seen["num_steps"] for seen, *_ in won)
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, url], stdout=subprocess.PIPE, text=True
        )
        assert client.stdout.readline() == "PLAYING\n"
        client.send_signal(signal.SIGKILL)
        client.wait()
        await asyncio.sleep(3)
        async with GenericEnvClient(base_url=url) as env:
            try:
                await env.reset(task="attic")
                told = ""
            except Exception as error:
                told = str(error)
            drawn = {(await env.reset()).observation["task"] for _ in range(12)}
    finally:
        await asyncio.sleep(1)
        server.kill()
    output = server.stdout.read()
    return {
        "open": output.count("OPEN"),
        "closed": output.count("CLOSED"),
        "tasks": len({seen["task"] for seen, *_ in won}),
        "told": told,
        "drawn": len(drawn),
        "steps_per_second": steps / seconds,
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print("FOUND" + json.dumps({**asyncio.run(main()), "page": run_page()}))
