"""A learner on a cluster goes the way of the one in this process, iteration by iteration."""

import shutil
from pathlib import Path

import pytest
import torch
from local_workers import LocalWorkers
from safetensors.torch import load_file
from training import cold_started, metrics_without_times

from declutch.agent.speaker import Agent
from declutch.cluster.play import make_codec
from declutch.config.files import change_config, parse_config
from declutch.credit.registry import find_method
from declutch.envs.registry import make_suite
from declutch.ground.errors import UserError
from declutch.judge.tasks import make_task
from declutch.models.load import load_model
from declutch.rollout.policy import Policy
from declutch.runs.folder import RunFolder
from declutch.runs.resume import go_back
from declutch.train.learn import Learner
from declutch.train.loop import train
from declutch.train.on_cluster import ClusterLearner, _check_rate
from declutch.train.session import Silent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict:
    data = {
        "env": {"max_steps": 6},
        # Where the stand-ins for the workers compute.
        "model": {"device": "cpu"},
        "agent": {"constrain_actions": False},
        "tiny": {
            "hidden_size": 32,
            "num_layers": 2,
            "intermediate_size": 64,
            "vocabulary_episodes": 60,
        },
        "sft": {"num_episodes": 30, "epochs": 3, "lr": 5e-3, "judge_samples": 20},
        "train": {
            "iterations": 2,
            "tasks_per_iteration": 2,
            "group_size": 3,
            "save_every": 1,
            "save_episodes": 2,
        },
        "loss": {"kl_coef": 0.02},
        "optimizer": {"lr": 1e-3, "mini_batch": None, "num_mini_batches": 2},
        # Predictions are asked for whatever the model plays; half a minute of cold start would be
        # needed for one that plays well enough to be judged.
        "gcd": {
            "enabled": True,
            "task": "prediction",
            "weight": 0.4,
            "num_questions": 4,
            "num_judgments": 3,
        },
        "algorithm": {"group_stats": "steps"},
        "augmentation": {"enabled": True},
        "eval": {"every": 1, "max_games": 2},
    }
    return cold_started(data, tmp_path_factory.mktemp("base"))


def start_locally(config, checkpoint):
    """As `ClusterLearner.start`, with the stand-in for the workers."""
    if checkpoint is not None:
        _check_rate(config, checkpoint)
    workers = LocalWorkers(config, checkpoint.path if checkpoint else None)
    codec = make_codec(config, workers.outline.generation_config)
    agent = Agent(codec, config.agent)
    policy = Policy(workers.outline, codec.tokenizer, codec, agent, workers.engine)
    task = make_task(config, policy) if config.gcd.enabled else None
    return ClusterLearner(config, find_method(config.algorithm.type), policy, task, workers)


def run(config, path, start):
    folder = RunFolder(path)
    if not folder.has_started():
        folder.write_config(config)
    train(config, folder, make_suite(config.env), Silent(), start_learner=start)
    return folder


@pytest.fixture(scope="module")
def both(base: dict, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    config, folder = parse_config(base, "test"), tmp_path_factory.mktemp("runs")
    return (
        run(config, folder / "here", Learner.start),
        run(config, folder / "cluster", start_locally),
    )


def test_both_play_judge_and_learn_the_same(both: tuple[RunFolder, RunFolder]) -> None:
    here, cluster = (metrics_without_times(folder.path) for folder in both)
    assert len(here) == len(cluster) == 2
    for one, other in zip(here, cluster, strict=True):
        own = {k: v for k, v in one.items() if k not in UNKNOWN and not k.startswith(OF_THE_OTHER)}
        same = {k: v for k, v in other.items() if k not in UNKNOWN}
        assert own.keys() == same.keys()
        assert same == pytest.approx(own, rel=2e-3, abs=2e-4)
        for name in ENTROPIES:
            assert other[name] == pytest.approx(one[name], rel=0.03)
        assert one["judge/num_questions"] > 0
        assert one["update/grad_norm"] > 1e-3


ENTROPIES = ("update/entropy", "update/entropy_judge")
UNKNOWN = {
    *ENTROPIES,
    "update/mismatch_mean",
    "update/mismatch_max",
    "update/judge_scale",
}
"""The learner looks at entropies as it goes, after the first step as well, so that they are alike
and not the same; which rows a mismatch is over differs. A scale is 0 here
where the judge's gradient is exactly 0, which is not known by itself on a cluster."""
OF_THE_OTHER = ("update/grad_norm_", "update/grad_cosine")
"""What is measured only where each role's gradient is known by itself."""


def test_the_weights_are_the_same_but_for_rounding(both: tuple[RunFolder, RunFolder]) -> None:
    for iteration in (1, 2):
        here, cluster = (
            load_file(folder.checkpoint_path(iteration) / "model.safetensors") for folder in both
        )
        assert here.keys() == cluster.keys()
        gaps = torch.cat([(here[name] - cluster[name]).abs().flatten() for name in here])
        # AdamW's first steps are of one size whatever the gradient, so that one next to 0 may go
        # the other way; hardly any does.
        assert float(gaps.mean()) < 1e-6
        assert float(gaps.quantile(0.999)) < 1e-5


def test_its_checkpoints_are_models_and_carry_what_it_goes_on_from(
    both: tuple[RunFolder, RunFolder], base: dict, tmp_path: Path
) -> None:
    config = parse_config(base, "test")
    _, whole = both
    load_model(whole.checkpoint_path(2), config.model)
    # What lies in folders below is not read, and not checked, to load the model.
    (whole.checkpoint_path(1) / "verl" / "optim.pt").touch()
    resumed = RunFolder(tmp_path / "resumed")
    shutil.copytree(whole.path, resumed.path)
    go_back(resumed, 1)
    run(config, resumed.path, start_locally)
    assert metrics_without_times(resumed.path) == metrics_without_times(whole.path)


def test_another_rate_or_the_other_kind_of_run_is_refused(
    both: tuple[RunFolder, RunFolder], base: dict, tmp_path: Path
) -> None:
    config = parse_config(base, "test")
    here, cluster = both
    for folder, changed, message in (
        (cluster, {"optimizer": {"lr": 5e-4}}, "which verl keeps"),
        (here, {}, "was not written by `declutch cluster train`"),
    ):
        copy = tmp_path / folder.path.name
        shutil.copytree(folder.path, copy)
        go_back(RunFolder(copy), 1)
        with pytest.raises(UserError, match=message):
            run(change_config(config, **changed), copy, start_locally)


def test_a_cluster_checkpoint_is_refused_by_the_learner_of_one_process(
    both: tuple[RunFolder, RunFolder], base: dict, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(both[1].path, copy)
    go_back(RunFolder(copy), 1)
    with pytest.raises(UserError, match="resume"):
        run(parse_config(base, "test"), copy, Learner.start)
