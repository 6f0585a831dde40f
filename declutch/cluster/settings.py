"""Says a run's settings in verl's words, for a cluster, and refuses what it cannot honour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from declutch.config.run import Config
from declutch.credit.registry import find_method
from declutch.ground.errors import UserError

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
MODEL, REFERENCE = "actor_rollout_ref.model", "actor_rollout_ref.ref"


def check_settings(config: Config) -> None:
    """Refuse the first setting that a cluster would not honour, by its name and with a remedy.

    Raises:
        UserError: there is one.
    """
    for key, value, reason, remedy in _refusals(config):
        shown = str(value).lower() if isinstance(value, bool) or value is None else value
        raise UserError(f"{key}={shown} cannot be honoured on a cluster: {reason}; {remedy}")


def _refusals(config: Config) -> Iterator[tuple[str, Any, str, str]]:
    """Key, value, why not, and what to do instead."""
    yield from _refused_of_method(config)
    yield from _refused_of_learning(config)
    yield from _refused_of_sampling(config)
    if config.processes > 1:
        reason = "its players and its workers are processes of their own"
        yield "processes", config.processes, reason, "set processes=1 and choose cluster.players"
    if config.coupling.every:
        yield (
            "coupling.every",
            config.coupling.every,
            "gradients of single samples are measured where the whole model lies in one process",
            "set coupling.every=0, and run `declutch coupling gradients` on the checkpoints",
        )
    given = set(config.cluster.verl or {})
    for key in sorted(given & set(verl_settings(config, config.cluster.max_model_tokens))):
        assert config.cluster.verl is not None
        yield (
            f"cluster.verl.{key}",
            config.cluster.verl[key],
            "a setting of this project decides it",
            "leave it out of cluster.verl",
        )


def _refused_of_method(config: Config) -> Iterator[tuple[str, Any, str, str]]:
    method, gcd, alone = find_method(config.algorithm.type), config.gcd, "`declutch train`"
    if method.critic is not None:
        reason = "it needs a critic, which is not trained there"
        yield "algorithm.type", config.algorithm.type, reason, f"take grpo, or train with {alone}"
    elif method.probes:
        reason = f"it reads {' and '.join(method.probes)} of the model, which lies in parts there"
        yield "algorithm.type", config.algorithm.type, reason, f"take grpo, or train with {alone}"
    if not gcd.enabled:
        return
    if gcd.gradient_ratio is not None:
        reason = "both gradients are added up as they arise, and their norms are not known apart"
        remedy = "set gcd.gradient_ratio=null and choose gcd.weight"
        yield "gcd.gradient_ratio", gcd.gradient_ratio, reason, remedy
    if gcd.gradient_cosine:
        reason = "both gradients are added up as they arise"
        remedy = "set gcd.gradient_cosine=null"
        yield "gcd.gradient_cosine", gcd.gradient_cosine, reason, remedy
    if gcd.traits.answers == "":
        reason = "it trains a value head, which is not trained there"
        yield "gcd.task", gcd.task, reason, f"set gcd.task=judge, or train with {alone}"


def _refused_of_learning(config: Config) -> Iterator[tuple[str, Any, str, str]]:
    optimizer, loss, model = config.optimizer, config.loss, config.model
    if optimizer.type != "adamw":
        reason = "it is PyTorch's AdamW that is spread over the GPUs"
        yield "optimizer.type", optimizer.type, reason, "set optimizer.type=adamw"
    if optimizer.lr_schedule != "constant":
        reason = "verl has no such schedule"
        yield "optimizer.lr_schedule", optimizer.lr_schedule, reason, "set it to constant"
    if optimizer.micro_batch_tokens is None:
        reason = "nobody looks at the memory of every GPU"
        remedy = "set optimizer.micro_batch_tokens, 8192 for instance"
        yield "optimizer.micro_batch_tokens", None, reason, remedy
    if loss.recompute_old is False:
        reason = "vLLM computes in other ways than the learner"
        yield "loss.recompute_old", False, reason, "set loss.recompute_old=null"
    if model.reference.device is not None or model.reference.dtype is not None:
        key = "dtype" if model.reference.device is None else "device"
        reason = "verl keeps the reference beside the policy, in the same type"
        yield f"model.reference.{key}", getattr(model.reference, key), reason, "set it to null"
    if model.lora.rank is not None and config.model.dtype != "float32":
        reason = (
            "verl would make adapters of bfloat16, for which an optimizer's steps are too small"
        )
        yield "model.dtype", model.dtype, reason, "set model.dtype=float32, or model.lora.rank=null"
    if model.lora.rank is not None and not float(model.lora.alpha).is_integer():
        yield "model.lora.alpha", model.lora.alpha, "verl takes whole numbers", "round it"


def _refused_of_sampling(config: Config) -> Iterator[tuple[str, Any, str, str]]:
    rollout, cluster, agent = config.rollout, config.cluster, config.agent
    if agent.constrain_actions:
        reason = "verl's log-probabilities know no mask of actions"
        yield "agent.constrain_actions", True, reason, "set agent.constrain_actions=false"
    if rollout.engine != "vllm":
        reason = "verl's servers sample by vLLM"
        yield "rollout.engine", rollout.engine, reason, "set rollout.engine=vllm"
    if rollout.cache_mib is not None:
        reason = "it bounds the memory of the other engine"
        remedy = "set rollout.cache_mib=null and choose rollout.vllm.memory_share"
        yield "rollout.cache_mib", rollout.cache_mib, reason, remedy
    if cluster.gpus_per_node % cluster.tensor_parallel:
        reason = f"cluster.gpus_per_node={cluster.gpus_per_node} is no multiple of it"
        yield "cluster.tensor_parallel", cluster.tensor_parallel, reason, "take a divisor of it"


def response_limit(config: Config) -> int:
    """The most tokens of a response on the cluster, the agent's or the judge's."""
    judge = config.gcd.max_response_tokens if config.gcd.enabled or config.eval.judge else 0
    return max(config.agent.max_response_tokens, judge)


def verl_settings(config: Config, max_tokens: int) -> Mapping[str, Any]:
    """What verl is told for the cluster, by its own dotted keys; `cluster.verl` comes on top.

    Args:
        max_tokens: of a prompt with its response.
    """
    response = response_limit(config)
    pass_tokens = max(config.optimizer.pass_tokens, max_tokens)
    precision = "fp32" if config.model.dtype == "float32" else "bf16"
    mixed = {"param_dtype": precision, "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    found: dict[str, Any] = {
        "trainer.nnodes": config.cluster.nodes,
        "trainer.n_gpus_per_node": config.cluster.gpus_per_node,
        "data.max_prompt_length": max(max_tokens - response, 1),
        "data.max_response_length": response,
        "critic.enable": False,
        f"{MODEL}.path": config.model.path,
        f"{MODEL}.enable_gradient_checkpointing": config.model.gradient_checkpointing,
        f"{ACTOR}.strategy": "fsdp2",
        f"{ACTOR}.use_kl_loss": config.loss.kl_coef > 0,
        f"{ACTOR}.use_dynamic_bsz": True,
        f"{ACTOR}.ppo_max_token_len_per_gpu": pass_tokens,
        f"{ACTOR}.optim.lr": config.optimizer.lr,
        f"{ACTOR}.optim.betas": [config.optimizer.beta1, config.optimizer.beta2],
        f"{ACTOR}.optim.weight_decay": config.optimizer.weight_decay,
        f"{ACTOR}.optim.clip_grad": config.optimizer.grad_clip,
        f"{ACTOR}.optim.lr_scheduler_type": "constant",
        f"{ACTOR}.optim.lr_warmup_steps": 0,
        f"{ACTOR}.optim.total_training_steps": config.train.iterations,
        f"{ACTOR}.fsdp_config.param_offload": config.cluster.offload,
        f"{ACTOR}.fsdp_config.optimizer_offload": config.cluster.offload,
        f"{ACTOR}.checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
        f"{ACTOR}.checkpoint.load_contents": ["model", "optimizer", "extra"],
        f"{ROLLOUT}.name": "vllm",
        f"{ROLLOUT}.temperature": config.rollout.temperature,
        f"{ROLLOUT}.dtype": config.model.dtype,
        f"{ROLLOUT}.tensor_model_parallel_size": config.cluster.tensor_parallel,
        f"{ROLLOUT}.gpu_memory_utilization": config.rollout.vllm.memory_share,
        f"{ROLLOUT}.enforce_eager": not config.rollout.vllm.compile,
        f"{ROLLOUT}.max_num_seqs": config.rollout.max_batch,
        f"{ROLLOUT}.max_model_len": max_tokens,
        f"{ROLLOUT}.max_num_batched_tokens": max(8192, max_tokens),
        f"{ROLLOUT}.calculate_log_probs": True,
        # Closing tags that a tokenizer splits are found in the text.
        f"{ROLLOUT}.skip_tokenizer_init": False,
        f"{ROLLOUT}.load_format": "auto",
    }
    for place in (ACTOR, REFERENCE):
        found[f"{place}.use_torch_compile"] = False
        found[f"{place}.fsdp_config.use_torch_compile"] = False
        # Weights are float32 in any case, as steps of an optimizer are too small for bfloat16.
        found[f"{place}.fsdp_config.model_dtype"] = "fp32"
        found[f"{place}.fsdp_config.mixed_precision"] = mixed
    if config.rollout.vllm.cache_gib is not None:
        size = int(config.rollout.vllm.cache_gib * (1 << 30))
        found[f"{ROLLOUT}.engine_kwargs.vllm.kv_cache_memory_bytes"] = size
    if config.model.lora.rank is not None:
        targets = list(config.model.lora.targets)
        found[f"{MODEL}.lora_rank"] = config.model.lora.rank
        found[f"{MODEL}.lora_alpha"] = int(config.model.lora.alpha)
        found[f"{MODEL}.target_modules"] = targets[0] if targets == ["all-linear"] else targets
        # The servers are given the sum of weights and adapters, as a whole model.
        found[f"{MODEL}.lora.merge"] = True
    return found
