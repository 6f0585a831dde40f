"""What a cluster cannot honour is refused by its name; all else is said in verl's words."""

from pathlib import Path

import pytest

from declutch.cluster.settings import ROLLOUT, check_settings, verl_settings
from declutch.config.files import load_config
from declutch.ground.errors import UserError

GOOD = (
    "agent.constrain_actions=false",
    "rollout.engine=vllm",
    "model.path=somewhere",
    "gcd.enabled=true",
)


def settings(*items):
    return load_config([], [*GOOD, *items])


def test_what_the_papers_need_is_taken():
    check_settings(settings())
    for method in ("rloo", "gigpo", "rlvmr"):
        reasoning = "meta" if method == "rlvmr" else "think"
        check_settings(settings(f"algorithm.type={method}", f"agent.reasoning={reasoning}"))
    check_settings(settings("gcd.task=prediction", "model.lora.rank=8", "loss.ratio=sequence"))


@pytest.mark.parametrize(
    "items",
    [
        ("algorithm.type=ppo",),
        ("algorithm.type=nthr",),
        ("gcd.gradient_ratio=0.5",),
        ("gcd.gradient_cosine=true",),
        ("gcd.task=value_head",),
        ("optimizer.type=adamw_8bit",),
        ("optimizer.lr_schedule=linear",),
        ("optimizer.micro_batch_tokens=null",),
        ("loss.recompute_old=false",),
        ("model.reference.device=cpu",),
        ("model.reference.dtype=bfloat16",),
        ("model.dtype=bfloat16", "model.lora.rank=8"),
        ("model.lora.alpha=12.5", "model.lora.rank=8"),
        ("agent.constrain_actions=true",),
        ("rollout.engine=hf",),
        ("rollout.cache_mib=100",),
        ("cluster.tensor_parallel=3",),
        ("coupling.every=5",),
        ("cluster.verl={actor_rollout_ref.actor.optim.lr: 1.0}",),
    ],
    ids=lambda items: items[0],
)
def test_what_cannot_be_honoured_is_refused_by_name(items):
    with pytest.raises(UserError, match="cannot be honoured on a cluster") as caught:
        check_settings(settings(*items))
    key = items[0].partition("=")[0]
    assert str(caught.value).startswith(f"{key}"), caught.value


def test_without_gcd_its_settings_are_nobodys():
    config = settings("gcd.enabled=false", "gcd.gradient_ratio=0.5", "gcd.task=value_head")
    check_settings(config)


def test_our_numbers_are_verls():
    config = settings(
        "optimizer.lr=3e-6",
        "optimizer.beta2=0.95",
        "optimizer.weight_decay=0.02",
        "optimizer.grad_clip=0.5",
        "rollout.temperature=0.9",
        "cluster.nodes=4",
        "cluster.gpus_per_node=2",
        "agent.max_response_tokens=500",
        "optimizer.micro_batch_tokens=1000",
        "model.dtype=bfloat16",
        "loss.kl_coef=0",
    )
    found = verl_settings(config, 2048)
    actor = "actor_rollout_ref.actor"
    assert found[f"{actor}.optim.lr"] == 3e-6
    assert found[f"{actor}.optim.betas"] == [0.9, 0.95]
    assert found[f"{actor}.optim.weight_decay"] == 0.02
    assert found[f"{actor}.optim.clip_grad"] == 0.5
    assert found[f"{actor}.use_kl_loss"] is False
    assert found[f"{ROLLOUT}.temperature"] == 0.9
    assert (found["trainer.nnodes"], found["trainer.n_gpus_per_node"]) == (4, 2)
    assert found["data.max_response_length"] == 500
    assert found["data.max_prompt_length"] == 1548
    # A single row may be as long as the model allows, and goes through in one pass.
    assert found[f"{actor}.ppo_max_token_len_per_gpu"] == 2048
    mixed = found[f"{actor}.fsdp_config.mixed_precision"]
    assert mixed == {"param_dtype": "bf16", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    assert found[f"{actor}.fsdp_config.model_dtype"] == "fp32"


def test_adapters_are_handed_to_the_servers_as_a_whole_model():
    found = verl_settings(settings("model.lora.rank=16", "model.lora.targets=[q_proj]"), 512)
    assert found["actor_rollout_ref.model.lora_rank"] == 16
    # verl refuses 32.0.
    alpha = found["actor_rollout_ref.model.lora_alpha"]
    assert (alpha, type(alpha)) == (32, int)
    assert found["actor_rollout_ref.model.target_modules"] == ["q_proj"]
    assert found["actor_rollout_ref.model.lora.merge"] is True


@pytest.mark.parametrize("name", ["gc-3b", "gc-7b", "rm-1.5b"])
def test_the_papers_runs_can_be_honoured(name):
    config = load_config([Path(f"papers/{name}")], ["model.path=somewhere"])
    check_settings(config)
    assert config.train.tasks_per_iteration * config.train.group_size == 128
    assert (config.gcd.num_questions, config.gcd.num_judgments) == (30, 8)
