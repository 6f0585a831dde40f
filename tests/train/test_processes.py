"""A run in several processes is the run of one but for rounding, and ends whole whoever dies."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from dying import is_gone, wait_for
from forking import forking_context, start_forked
from pages import ROOT
from training import cold_started, metrics_without_times, run_training

from declutch.config.files import change_config, lay_over, parse_config
from declutch.config.run import Config
from declutch.envs.registry import make_suite
from declutch.ground.errors import UserError
from declutch.learner.lesson import Passes
from declutch.records import Outcome, Role
from declutch.rollout import collect as collecting
from declutch.rollout.groups import play_groups
from declutch.runs.folder import RunFolder
from declutch.train import processes as module
from declutch.train.jobs import LearnJob, PlayJob
from declutch.train.learn import Learner
from declutch.train.processes import _deal, check_processes

ITERATIONS = 2


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A configuration small enough for a test, with a cold-started model behind it."""
    data = {
        "env": {"max_steps": 6},
        "tiny": {"hidden_size": 32, "num_layers": 2, "intermediate_size": 64},
        "sft": {"num_episodes": 40, "epochs": 14, "lr": 5e-3, "judge_samples": 20},
        "train": {
            "iterations": ITERATIONS,
            "tasks_per_iteration": 4,
            "group_size": 3,
            "save_every": 1,
        },
        "loss": {"kl_coef": 0.0},
        # Small passes, so that there are some for everyone.
        "optimizer": {
            "lr": 1e-3,
            "mini_batch": None,
            "num_mini_batches": 2,
            "micro_batch_tokens": 512,
        },
        # Labels of every other step only, which depend on the number that an episode has.
        "gcd": {"enabled": True, "num_questions": 8, "num_judgments": 3, "oracle_every": 2},
        "eval": {"every": 1, "max_games": 3, "seeds": [0]},
    }
    return cold_started(data, tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are forked where those of a run would be spawned, which takes seconds."""
    monkeypatch.setattr(module, "starting_context", lambda *modules: forking_context())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list:
    """The jobs that other processes are asked to do."""
    jobs, ask = [], module._Process.ask

    def keep(self: object, job: object, weights: bytes) -> None:
        jobs.append(job)
        ask(self, job, weights)

    monkeypatch.setattr(module._Process, "ask", keep)
    return jobs


def trained_by(base: dict, path: Path, count: int) -> Path:
    run_training(parse_config({**base, "processes": count}, "test"), path)
    return path


@pytest.fixture
def start(base: dict):
    """Starts learners, and ends them."""
    learners = []

    def begin(**changes: object) -> Learner:
        config = parse_config(lay_over(base, {"processes": 3, **changes}), "test")
        learners.append(Learner.start(config, None))
        return learners[-1]

    yield begin
    for learner in learners:
        learner.close()


def played_by(learner: Learner) -> tuple:
    suite = make_suite(learner.config.env)
    return play_groups(
        learner.config, suite, learner.policy, 0, collect_by=learner.collect
    ).episodes


def outcomes(path: Path) -> list:
    return [json.loads(file.read_text())["games"] for file in sorted(path.glob("evals/*.json"))]


def test_several_processes_do_what_one_does_but_for_rounding(base, tmp_path, asked):
    alone = trained_by(base, tmp_path / "alone", 1)
    assert not asked
    shared = trained_by(base, tmp_path / "shared", 3)
    played = [job for job in asked if isinstance(job, PlayJob)]
    splits = {play.task.split for job in played if job.questions is None for play in job.plays}
    # Of training, and of evaluations.
    assert splits >= {"train", "valid_seen", "valid_unseen"}
    assert any(job.questions for job in played)
    roles = [
        batch.role for job in asked if isinstance(job, LearnJob) for batch in job.passes.batches
    ]
    assert {int(role.max()) for role in roles} == {Role.AGENT, Role.JUDGE}
    again = trained_by(base, tmp_path / "again", 3)
    assert metrics_without_times(again) == metrics_without_times(shared)
    assert (tmp_path / "again/checkpoints/iteration-00002/model.safetensors").read_bytes() == (
        tmp_path / "shared/checkpoints/iteration-00002/model.safetensors"
    ).read_bytes()
    assert outcomes(shared) == outcomes(alone)
    assert len(outcomes(alone)) == ITERATIONS + 1
    for one, many in zip(metrics_without_times(alone), metrics_without_times(shared), strict=True):
        assert one["judge/num_questions"] > 0
        assert one["update/grad_norm"] > 0
        assert many == pytest.approx(one, rel=1e-3, abs=1e-5)


def test_episodes_are_those_of_one_process_in_its_order(start):
    told: list = []
    learner = start()
    shared, alone = played_by(learner), played_by(start(processes=1))
    assert len(shared) == 12
    for mine, its in zip(shared, alone, strict=True):
        assert (mine.task, mine.group, mine.outcome) == (its.task, its.group, its.outcome)
        assert [step.action for step in mine.steps] == [step.action for step in its.steps]
        assert [step.oracle_label for step in mine.steps] == [s.oracle_label for s in its.steps]
        for here, there in zip(mine.steps, its.steps, strict=True):
            assert torch.equal(here.prompt_ids, there.prompt_ids)
            assert torch.equal(here.response_ids, there.response_ids)
            assert torch.allclose(here.sample_logprobs, there.sample_logprobs, atol=1e-5)
    # Whoever shows progress hears of every episode once, wherever it was played.
    suite, policy = make_suite(learner.config.env), learner.policy
    plays = [
        collecting.Play(task, index, index) for index, task in enumerate(suite.tasks("train")[:7])
    ]
    params = collecting.CollectParams(max_steps=3, temperature=1.0)
    found = learner.collect(plays, suite, policy.agent, policy.engine, params, told.append)
    assert sorted(map(id, told)) == sorted(map(id, found))
    assert [episode.task for episode in found] == [play.task for play in plays]


def test_the_gradient_is_that_of_one_process_and_weighted_like_it(start):
    learner = start(gcd={"weight": 0.5, "gradient_ratio": None, "gradient_cosine": False})
    episodes, sent = played_by(learner), []
    model = learner.policy.model
    credited = learner.credit(episodes)
    lesson = learner._make_lesson(
        credited.steps, credited.advantage.split(credited.table.num_tokens.tolist()), Role.AGENT
    )

    def count(passes: Passes, model: torch.nn.Module) -> object:
        sent.append(len(passes.batches))
        return passes.run(model)

    handles = [p.register_hook(lambda part: part * 0.5) for p in model.parameters()]
    found = []
    for run_passes in (count, learner.processes.run):
        model.zero_grad()
        sums = replace(lesson, run_passes=run_passes).backward(model, range(len(credited.steps)))
        found.append((sums, [parameter.grad.clone() for parameter in model.parameters()]))
    for handle in handles:
        handle.remove()
    (one, own), (many, shared) = found
    assert sent[0] >= 3
    assert many.num_tokens == one.num_tokens
    assert many.loss == pytest.approx(one.loss, abs=1e-6)
    assert many.mismatch_max == pytest.approx(one.mismatch_max, abs=1e-6)
    norm = torch.cat([part.flatten() for part in own]).norm()
    assert norm > 0
    for mine, its in zip(own, shared, strict=True):
        assert (mine - its).norm() < 1e-5 * norm


def test_batches_are_dealt_so_that_nobody_gets_the_longer_of_each():
    assert _deal(list("abcdefgh"), 3) == [list("afg"), list("beh"), list("cd")]
    assert _deal(list("ab"), 3) == [["a"], ["b"], []]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shares_hold_every_play_once_and_groups_together_where_these_are_many(count):
    plays = [collecting.Play(None, index // 3, index) for index in range(36)]
    shares = collecting.share_out(plays, count)
    assert sorted(play.number for share in shares for play in share) == list(range(36))
    assert all(play.number == play.seed for share in shares for play in share)
    is_together = collecting.GROUPS_PER_SHARE * count <= 12
    homes = [{play.group for play in share} for share in shares]
    assert (sum(map(len, homes)) == 12) == is_together
    assert max(map(len, shares)) - min(map(len, shares)) <= (3 if is_together else 1)


@pytest.mark.parametrize("kind", [PlayJob, LearnJob])
def test_a_process_that_dies_ends_the_run_with_one_message_and_what_was_learned(
    base, tmp_path, monkeypatch, kind
):
    config = parse_config({**base, "processes": 2}, "test")
    ask, children = module._Process.ask, []

    def kill(self: object, job: object, weights: bytes) -> None:
        ask(self, job, weights)
        if isinstance(job, kind) and (tmp_path / "run/checkpoints/iteration-00001").exists():
            children.append(self.child)
            os.kill(self.child.pid, signal.SIGKILL)

    monkeypatch.setattr(module._Process, "ask", kill)
    with pytest.raises(UserError, match=r"ended with status -9; .* lower processes"):
        run_training(config, tmp_path / "run")
    assert not children[0].is_alive()
    assert RunFolder(tmp_path / "run").iterations_saved() == 1
    monkeypatch.setattr(module._Process, "ask", ask)
    run_training(config, tmp_path / "run")
    whole = trained_by(base, tmp_path / "whole", 2)
    assert metrics_without_times(tmp_path / "run") == metrics_without_times(whole)


def test_the_others_end_when_the_run_is_killed(base, tmp_path):
    many = {"train": {"iterations": 500}, "processes": 3}
    config = parse_config(lay_over(base, many), "test")
    RunFolder(tmp_path).write_config(config)
    parent = start_forked("declutch.cli.main", ["train", str(tmp_path), "--resume"])
    try:
        wait_for(lambda: (tmp_path / "metrics.jsonl").exists())
        pids = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
        assert len(pids) >= 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: all(map(is_gone, pids)))


REWARD = """
import os

def reward(task, observation, action, transition):
    if os.getpid() != PARENT:
        raise ValueError("not here")
    return transition.reward
"""


def test_an_error_in_another_process_is_as_one_in_this(start, tmp_path, monkeypatch):
    (tmp_path / "own_reward.py").write_text(REWARD.replace("PARENT", str(os.getpid())))
    monkeypatch.syspath_prepend(str(tmp_path))
    learner = start(train={"reward": "own_reward:reward"})
    with pytest.raises(UserError, match=r"train\.reward raises ValueError: not here"):
        played_by(learner)
    assert not any(other.child.is_alive() for other in learner.processes._others)


STARTS = """
import os, subprocess, sys, multiprocessing

def nothing():
    pass

def reward(task, observation, action, transition):
    if os.getpid() == PARENT:
        return 0.0
    child = multiprocessing.get_context("fork").Process(target=nothing)
    child.start()
    child.join()
    return float(child.exitcode == 0)
"""


def test_a_suite_of_few_environments_is_played_in_this_process(start, monkeypatch):
    learner = start()
    monkeypatch.setattr(learner.processes, "_ask", None)
    suite, policy = make_suite(learner.config.env), learner.policy
    suite.__class__ = type("Narrow", (type(suite),), {"max_live": 2})
    plays = [collecting.Play(task, 0, 0) for task in suite.tasks("train")[:3]]
    params = collecting.CollectParams(max_steps=2, temperature=1.0)
    found = learner.collect(plays, suite, policy.agent, policy.engine, params)
    assert all(episode.outcome is not Outcome.ENV_ERROR for episode in found)


def test_another_suite_than_the_settings_make_is_refused(start, base):
    learner = start()
    children = [other.child for other in learner.processes._others]
    changes = {"households": {**base["env"]["households"], "train": 20}}
    other = make_suite(change_config(learner.config, env=changes).env)
    policy = learner.policy
    plays = [collecting.Play(task, 0, 0) for task in other.tasks("train")[:9]]
    params = collecting.CollectParams(max_steps=2, temperature=1.0)
    with pytest.raises(UserError, match=r"processes=3: the suite .* has other games than"):
        learner.collect(plays, other, policy.agent, policy.engine, params)
    assert not any(child.is_alive() for child in children)


def test_a_process_may_start_processes_and_ends_when_nobody_needs_it(start, tmp_path, monkeypatch):
    # A busy machine may take longer than people would wait.
    monkeypatch.setattr(module, "GRACE_SECONDS", 120.0)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_reward.py").write_text(STARTS.replace("PARENT", str(os.getpid())))
    learner = start(train={"reward": "own_reward:reward"})
    assert {step.reward for episode in played_by(learner) for step in episode.steps} == {0.0, 1.0}
    children = [other.child for other in learner.processes._others]
    assert all(child.is_alive() for child in children)
    learner.close()
    # In order, and not killed.
    assert [child.exitcode for child in children] == [0, 0]


def test_what_fails_when_a_run_starts_leaves_no_process(base, tmp_path, monkeypatch):
    children: list = []
    begin = module._Process.__init__

    def keep(self: object, *arguments: object) -> None:
        begin(self, *arguments)
        children.append(self.child)

    def fail(*arguments: object, **more: object) -> None:
        raise UserError("nothing to distract with")

    monkeypatch.setattr(module._Process, "__init__", keep)
    for name in ("declutch.train.session.find_augmentation", "declutch.train.learn.load_trainee"):
        with monkeypatch.context() as patch:
            patch.setattr(name, fail)
            with pytest.raises(UserError, match="to distract with"):
                trained_by(base, tmp_path / name, 2)
    assert [child.is_alive() for child in children] == [False, False]


def test_only_models_on_the_cpu_with_our_engine_have_several(monkeypatch):
    with pytest.raises(UserError, match=r"processes=2 needs rollout\.engine=hf"):
        check_processes(Config(processes=2, rollout={"engine": "vllm"}))
    monkeypatch.setattr(module, "pick_device", lambda name: torch.device("cuda"))
    with pytest.raises(UserError, match="processes=2 needs a model on the CPU"):
        check_processes(Config(processes=2))


SCRIPT = """
import sys
from training import run_training
from declutch.config.files import load_config
from pathlib import Path
from declutch.runs.folder import RunFolder
folder = Path(sys.argv[1])
run_training(RunFolder(folder).read_config(), folder)
"""


def test_a_script_without_a_guard_is_told_what_is_missing(base, tmp_path):
    """Spawned for real: what the script does at once would be done by each of its processes."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    RunFolder(tmp_path / "run").write_config(parse_config({**base, "processes": 2}, "test"))
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests/support")])
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert ended.returncode == 1
    assert 'has to do so under `if __name__ == "__main__":`' in ended.stderr.splitlines()[-1]
