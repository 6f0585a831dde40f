"""Load a server of `declutch serve` with many clients at once, small and large, good and bad.

    python benchmarks/serve_load.py --clients 64 --seconds 60
    python benchmarks/serve_load.py --url http://127.0.0.1:8000/v1 --clients 64

Without --url it makes a model of random weights and serves it here. Every client asks one
question after another for a while: three quarters are small (8 tokens), some are long answers (200
tokens), some ask for 16 answers at once, some send prompts of hundreds of tokens; some clients send
what is no request at all, or half of one, and hang up or wait. The table says, for each kind, how
many were answered, refused with 429 and told when to come back, or failed, and how long the answers
took. Nothing but 429 may befall a good request, and nothing but 400, 408 and 413 a bad one.
"""

import argparse
import json
import os
import random
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

WORDS = "a red blue mug lamp desk is on the go to and then look at it again hello there"
NUM_POSITIONS = 1024
MIX = {"small": 44, "long answer": 6, "16 answers": 4, "long prompt": 6, "bad": 2, "half-open": 2}
"""Clients of each kind out of 64."""


@dataclass
class Seen:
    """What became of the requests of one kind."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    errors: list[str] = field(default_factory=list)


def make_model(folder: Path) -> Path:
    """A model of random weights with the words of a few sentences."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from declutch.cold_start.tiny import train_tokenizer

    tokenizer = train_tokenizer([WORDS])
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer), max_position_embeddings=NUM_POSITIONS, **sizes, **heads
        )
    )
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def serving(folder: Path, settings: list[str]) -> Iterator[str]:
    """The address of a server of the model, while it lasts."""
    command = [sys.executable, "-m", "declutch.cli.main", "serve", str(folder), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path])}
    process = subprocess.Popen(
        [*command, "threads=1", *settings], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        while select.select([process.stdout], [], [], 300)[0]:
            line = process.stdout.readline()
            if not line or " at http://" in line:
                break
        yield line.split()[-1]
        process.terminate()
        print(f"exit status after SIGTERM: {process.wait(60)}")
    finally:
        process.kill()
        process.wait()


def body_of(kind: str, model: str, draw: random.Random) -> dict:
    """A request of a kind."""
    words = WORDS.split()
    length = 600 if kind == "long prompt" else draw.randint(3, 20)
    text = " ".join(draw.choice(words) for _ in range(length))
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "temperature": draw.choice((0.7, 1.0)),
        "max_tokens": 200 if kind == "long answer" else 8,
        "n": 16 if kind == "16 answers" else 1,
    }


def ask(url: str, kind: str, model: str, until: float, seed: int, seen: Seen) -> None:
    """One client: ask until the time is over, and come back when told to."""
    draw = random.Random(seed)
    with httpx.Client(timeout=300) as client:
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                reply = client.post(f"{url}/chat/completions", json=body_of(kind, model, draw))
            except httpx.HTTPError as error:
                seen.errors.append(type(error).__name__)
                continue
            if reply.status_code == 200:
                seen.seconds.append(time.monotonic() - began)
            elif reply.status_code == 429:
                seen.refused += 1
                time.sleep(min(float(reply.headers["Retry-After"]), 2.0))
            else:
                seen.errors.append(f"{reply.status_code} {reply.text[:80]}")


def annoy(url: str, model: str, until: float, seed: int, seen: Seen) -> None:
    """A client that sends nonsense; each reply has to be one message and the right status."""
    draw = random.Random(seed)
    good = body_of("small", model, draw)
    bodies = [
        (b"{", 400),
        (b"[" * 50_000, 400),
        (b'{"model": "\\ud800"}', 400),
        (json.dumps({**good, "temperature": 1e-300}).encode(), 400),
        (json.dumps({**good, "messages": 3}).encode(), 400),
        (json.dumps({**good, "model": "no"}).encode(), 404),
        (b" " * 5_000_000, 413),
    ]
    with httpx.Client(timeout=300) as client:
        while time.monotonic() < until:
            content, wanted = draw.choice(bodies)
            began = time.monotonic()
            try:
                reply = client.post(f"{url}/chat/completions", content=content)
            except (httpx.WriteError, httpx.ReadError):
                # Refused while the rest of the body was on its way.
                if wanted != 413:
                    seen.errors.append("connection")
                continue
            if reply.status_code in (wanted, 429) and reply.json()["error"]["message"]:
                seen.seconds.append(time.monotonic() - began)
            else:
                seen.errors.append(f"{reply.status_code} instead of {wanted}")
            time.sleep(0.05)


def linger(url: str, until: float, seen: Seen) -> None:
    """A client that begins requests and never ends them, many at a time."""
    host, _, port = url.removesuffix("/v1").removeprefix("http://").rpartition(":")
    lines: list[socket.socket] = []
    while time.monotonic() < until:
        try:
            lines.append(socket.create_connection((host, int(port)), timeout=5))
            lines[-1].sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
        except OSError as error:
            seen.errors.append(type(error).__name__)
        time.sleep(0.5)
    for line in lines:
        line.close()


def row(kind: str, clients: int, seen: Seen) -> str:
    ordered = sorted(seen.seconds)

    def at(share: float) -> str:
        return f"{ordered[min(int(share * len(ordered)), len(ordered) - 1)]:.2f}" if ordered else ""

    cells = [kind, clients, len(ordered), seen.refused, len(seen.errors)]
    return f"| {' | '.join(map(str, [*cells, at(0.5), at(0.99), at(1)]))} |"


def load(url: str, clients: int, seconds: float) -> None:
    """Load a running server and print the table."""
    model = httpx.get(f"{url}/models").json()["data"][0]["id"]
    counts = {kind: max(1, round(number * clients / 64)) for kind, number in MIX.items()}
    counts["small"] += clients - sum(counts.values())
    seen: dict[str, Seen] = defaultdict(Seen)
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(clients) as pool:
        waiting = []
        for kind, count in counts.items():
            for seed in range(count):
                if kind == "bad":
                    waiting.append(pool.submit(annoy, url, model, until, seed, seen[kind]))
                elif kind == "half-open":
                    waiting.append(pool.submit(linger, url, until, seen[kind]))
                else:
                    waiting.append(pool.submit(ask, url, kind, model, until, seed, seen[kind]))
        for each in waiting:
            each.result()
    print("| requests | clients | answered | 429 | errors | p50 s | p99 s | longest s |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, count in counts.items():
        print(row(kind, count, seen[kind]))
    for kind in counts:
        for error in sorted(set(seen[kind].errors)):
            print(f"{kind}: {seen[kind].errors.count(error)} × {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="address of a running server, up to and with /v1")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("settings", nargs="*", help="KEY=VALUE for the server that is started")
    args = parser.parse_args()
    if args.url:
        load(args.url, args.clients, args.seconds)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(make_model(Path(folder) / "tiny"), args.settings) as url,
    ):
        load(url, args.clients, args.seconds)


if __name__ == "__main__":
    main()
