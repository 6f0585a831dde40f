"""Play our environments by verifiers' own programs, and its environments here, with the package.

It is run in an environment that has the package: `python play_verifiers.py FOLDER`.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import torch
import verifiers.v1 as vf
import yaml
from chat_server import ChatServer, completion
from generate_server import GenerateServer
from pages import ROOT, find_blocks, find_command_lines
from served import _read_url, make_served_folder
from transformers import AutoModelForCausalLM
from verifiers.v1.serve.client import EnvClient
from verifiers.v1.serve.server import EnvServer

from declutch.config.files import parse_config
from declutch.envs.registry import make_suite
from declutch.ground.errors import UserError

TREASURE = "examples.treasure:Treasure"
EVAL = "from verifiers.v1.cli.eval.main import main; main()"


def find_treasure(number, body):
    """A model that plays well: it looks everywhere, takes the thing and loads it."""
    _, *said = body["messages"]
    commands = said[-1]["content"].rpartition("Possible commands: ")[2].split(", ")
    did = [re.findall("<action>(.*)</action>", m["content"])[0] for m in said[1::2]]
    useful = [command for command in commands if command.startswith(("take", "load"))]
    if not useful and any(command.startswith("take") for command in did):
        useful = ["go to boat"]
    found = useful or [each for each in commands if each not in (*did, "go to boat")]
    text = f"<think>It may be there.</think>\n<action>{found[0]}</action>"
    return 200, completion(text, created=0, model="finder")


def evaluate(folder, name, url, model, *options):
    """Run verifiers' own evaluation; its episodes."""
    words = ["declutch-games", "--model", model, "--client.base-url", url]
    words += ["--no-push", "--no-rich", "--output-dir", str(folder), "--run.name", name, *options]
    result = subprocess.run(
        [sys.executable, "-c", EVAL, *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = (folder / name / "traces.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def summarise(episodes):
    traces = [episode["traces"][0] for episode in episodes]
    scored = [trace for trace in traces if "success" in trace["rewards"]]
    errors = {error["message"] for episode in episodes for error in episode["errors"]}
    return {
        "episodes": len(episodes),
        "ok": sum(episode["ok"] for episode in episodes),
        "success": [trace["rewards"]["success"]["score"] for trace in scored],
        "score": [trace["metrics"]["score"] for trace in scored],
        "steps": [trace["metrics"]["num_steps"] for trace in scored],
        "timed_out": [trace["metrics"]["timed_out"] for trace in scored],
        "tasks": sorted({trace["task"]["key"] for trace in traces}),
        "errors": sorted(errors),
    }


def evaluate_by_serve(folder, tiny):
    """The same evaluation of a model behind `declutch serve`."""
    words = [sys.executable, "-m", "declutch.cli.main", "serve", str(tiny), "threads=1"]
    server = subprocess.Popen([*words, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        url = _read_url(server, server.stdout)
        options = ["--env.taskset.suite", TREASURE, "--env.taskset.split", "L1"]
        options += ["--env.taskset.max-steps", "3", "-n", "3", "--sampling.max-tokens", "6"]
        return summarise(evaluate(folder, "served", url, "tiny", *options))
    finally:
        server.kill()
        server.wait()


async def roll_out(tiny, model):
    """What verifiers' trainer does: an environment server, and token ids with log-probabilities."""
    options = {"id": "declutch-games", "suite": TREASURE, "split": "rl-train", "max_steps": 3}
    server = EnvServer(vf.resolve_env_config({"taskset": options}), "tcp://127.0.0.1:0")
    running = asyncio.create_task(server.run())
    client = EnvClient(server.address)
    sampler = vf.TrainClientConfig(
        base_url=GenerateServer(model).url,
        api_key_var="NONE",
        renderer={"name": "default"},
        renderer_model_name=str(tiny),
    )
    tasks = list(server.env.taskset.take(2))
    episodes = await asyncio.gather(
        *(
            client.run(sampler, "tiny", vf.SamplingConfig(), task.data.model_dump(mode="json"))
            for task in tasks
            for _ in range(2)
        )
    )
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    worst, trained = 0.0, 0
    for episode in episodes:
        assert episode.ok, episode.model_dump_json()
        (trace,) = episode.traces
        # Each branch is a sample; a tokenizer of a few words reads some replies back as others.
        for branch in trace.branches:
            ids, mask = torch.tensor([list(branch.token_ids)]), list(branch.sampled_mask)
            with torch.no_grad():
                scores = model(ids[:, :-1]).logits[0].log_softmax(-1)
            expected = scores[torch.arange(ids.shape[1] - 1), ids[0, 1:]]
            for place, (is_sampled, logprob) in enumerate(zip(mask, branch.logprobs, strict=True)):
                if is_sampled:
                    trained += 1
                    worst = max(worst, abs(float(expected[place - 1]) - logprob))
    rewards = [episode.traces[0].reward for episode in episodes]
    return {"episodes": len(episodes), "tokens": trained, "worst": worst, "rewards": rewards}


def suite_of(**settings):
    data = {"suite": "verifiers", "verifiers": settings}
    config = parse_config({"env": data, "agent": {"constrain_actions": False}}, "test")
    return make_suite(config.env)


def play_here(tiny):
    """Environments of verifiers under the protocol used here."""
    sums = suite_of(id="vf_sums", options={"largest": 7}, evaluated=3, unseen_options={})
    tasks = {level: sums.tasks(level) for level in ("train", "L0", "L1")}
    env = sums.make_env()
    first = env.reset(tasks["L0"][1])
    right = env.step("4")
    env.reset(tasks["train"][0])
    wrong = env.step("5")
    guess = suite_of(id="vf_guess", evaluated=1, success="found")
    other, (task, *_) = guess.make_env(), guess.tasks("L0")
    told = [other.reset(task).text]
    steps = [other.step(number) for number in ("5", "8", "7")]
    env.reset(tasks["L0"][0])  # two at once, and one that is given up
    broken = suite_of(id="vf_guess", success="found").make_env()
    broken.reset(task)
    failures = {}
    for name, work in {
        "number": lambda: broken.step("seven"),
        "tools": lambda: suite_of(id="vf_tools"),
        "agents": lambda: suite_of(id="vf_sums", environment="user-sim"),
        "absent": lambda: suite_of(id="no_such_taskset"),
        "unnamed": lambda: play_unnamed(),
        "L2": lambda: sums.tasks("L2"),
    }.items():
        try:
            work()
        except (UserError, RuntimeError) as error:
            failures[name] = f"{type(error).__name__}: {error}"
    env.close()
    return {
        "names": [task.name[:1] for task in tasks["train"]],
        "levels": {level: len(listed) for level, listed in tasks.items()},
        "first": first.text,
        "right": [right.is_won, right.is_done, right.score, right.reward],
        "wrong": [wrong.is_won, wrong.is_done, wrong.score, wrong.reward],
        "told": told + [step.observation.text for step in steps],
        "found": [[step.is_won, step.is_done, step.reward] for step in steps],
        "failures": failures,
        "eval": evaluate_here(tiny),
    }


def play_unnamed():
    suite = suite_of(id="vf_guess")
    env = suite.make_env()
    env.reset(suite.tasks("L0")[0])
    env.step("7")


def evaluate_here(tiny):
    """`declutch eval` on a task set of verifiers; what it says."""
    words = ["eval", str(tiny), "--levels", "L0", "env.suite=verifiers", "env.verifiers.id=vf_sums"]
    words += ["agent.constrain_actions=false", "threads=1", "env.verifiers.evaluated=2"]
    result = subprocess.run(
        [sys.executable, "-m", "declutch.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def run_page(folder, url):
    """Run the blocks of the guide with a smaller environment, this endpoint and fewer games."""
    text = (ROOT / "docs" / "guides" / "verifiers.md").read_text(encoding="utf-8")
    (command,) = (words for words in find_command_lines(text) if words[0] == "vf-eval")
    changed = {"alfworld": TREASURE, "http://127.0.0.1:8000/v1": url, "20": "1", "4": "2"}
    words = [changed.get(word, word) for word in command]
    assert set(changed) <= set(command), command
    words += ["--output-dir", str(folder), "--run.name", "page"]
    subprocess.run([sys.executable, "-c", EVAL, *words[1:]], check=True, capture_output=True)
    lines = (folder / "page" / "traces.jsonl").read_text().splitlines()
    episodes = [json.loads(line) for line in lines]
    (block,) = find_blocks(text, "python")
    printed = []
    code = block.replace('"alfworld"', repr(TREASURE))
    exec(code, {"print": lambda *words: printed.append(words)})
    (settings,) = find_blocks(text, "yaml")
    data = yaml.safe_load(settings.replace("my-taskset", "vf_sums"))
    suite = make_suite(parse_config(data, "page").env)
    return {
        "episodes": len(episodes),
        "ok": sum(episode["ok"] for episode in episodes),
        "keys": len(set(printed)),
        "suite": suite.name,
    }


def main(folder):
    tiny = make_served_folder(folder / "tiny", 4096)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    finder = ChatServer(find_treasure)
    options = ["--env.taskset.split", "L0", "--env.taskset.max-steps", "9", "-n", "4"]
    found = {}
    for name, suite in {"found": TREASURE, "frail": "frail_treasure:Frail"}.items():
        several = ["-r", "2", "--select.include.idx", "28:32"]
        every = ["--env.taskset.suite", suite, *options, *several]
        found[name] = summarise(evaluate(folder, name, finder.url, "finder", *every))
    found["page"] = run_page(folder, finder.url)
    finder.stop()
    found["served"] = evaluate_by_serve(folder, tiny)
    found["trained"] = asyncio.run(roll_out(tiny, model))
    found["here"] = play_here(tiny)
    print("FOUND" + json.dumps(found))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    here = os.path.dirname(os.path.abspath(__file__))
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    main(Path(sys.argv[1]))
