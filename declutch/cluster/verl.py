"""Starts a cluster's Ray with verl's workers and servers, and has them sample, learn and save."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from declutch.cluster.batch import make_batch
from declutch.cluster.export import finish_export
from declutch.cluster.loss import SUMS, Row, deal, verl_loss
from declutch.cluster.play import LostPlayerError, Player, Players, ServerEngine, last_line
from declutch.cluster.settings import check_settings, response_limit, verl_settings
from declutch.config.run import Config
from declutch.ground.errors import UserError, error_reason
from declutch.ground.extras import install_command
from declutch.models.find import find_model
from declutch.records import Episode

SHARDS = "verl"
"""The folder in a checkpoint where every rank keeps its part of weights and optimizer."""
PASSED_ON = ("ALFWORLD_DATA", "PYTHONPATH", "HF_HUB_OFFLINE")
"""Variables of the environment that processes on other machines get as well."""


@dataclass(frozen=True)
class StepSums:
    """What an optimizer step of the cluster reports, summed over ranks and passes.

    Attributes:
        grad_norm: of the whole gradient, before clipping.
        agent, judge: by the names of `SUMS`; the judge's loss is weighted.
    """

    grad_norm: float
    agent: Mapping[str, float]
    judge: Mapping[str, float]


@dataclass
class Workers:
    """The cluster's workers: verl's learner and servers, and the players, under one driver.

    Attributes:
        engine: samples by the servers, with the weights of the last `sync`.
        players: play episodes.
        outline: the model without any weights, for those who ask for its shape.
        num_ranks: over how many GPUs a mini-batch is spread.
    """

    config: Config
    outline: PreTrainedModel
    engine: ServerEngine
    players: Players
    num_ranks: int
    _group: Any = field(repr=False)
    _replicas: Any = field(repr=False)
    _kept: Any = field(repr=False)

    @classmethod
    def start(cls, config: Config, checkpoint: Path | None) -> Workers:
        """Start or join Ray and everything in it, from `config.model.path` or a checkpoint.

        Raises:
            UserError: a setting that cannot be honoured, packages that are missing, a model that
                cannot be loaded, too few GPUs, or a checkpoint of another number of them.
        """
        check_settings(config)
        find_model(config.model.path)
        outline, max_tokens = read_outline(config)
        num_ranks = config.cluster.nodes * config.cluster.gpus_per_node
        if checkpoint is not None:
            check_shards(checkpoint, num_ranks)
        with _explained("start"):
            told = _compose(config, max_tokens)
            _start_ray(config, told)
            group, servers, replicas = _start_verl(told, config)
            group.set_loss_fn(partial(verl_loss, config=config.loss))
            client = servers.get_client()
            players, given = _start_players(config, outline, client, max_tokens)
            replicas.sleep_replicas()
            if checkpoint is not None:
                group.load_checkpoint(str(checkpoint / SHARDS))
            replicas.update_weights(0)
        engine = ServerEngine(client, max_tokens)
        return cls(config, outline, engine, players, num_ranks, group, replicas, (servers, given))

    @property
    def _temperature(self) -> float:
        return self.config.rollout.temperature

    def sleep(self) -> None:
        """Have the servers give their memory back; they sample no more until `sync`."""
        with _explained("update"):
            self._replicas.sleep_replicas()

    def sync(self, iteration: int) -> None:
        """Give the servers the learner's weights, and wake them up."""
        with _explained("update"):
            self._replicas.update_weights(iteration)

    def logprobs(
        self, rows: Sequence[Row], from_reference: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The learner's log-probabilities of the rows' responses and its entropies, f32[T] each.

        Args:
            from_reference: those of the model that the run started with.
        Returns:
            In order of the rows, in nats; no entropies of the reference.
        """
        from verl.utils import tensordict_utils as tu
        from verl.workers.utils.padding import response_from_nested

        dealt = deal([row.num_tokens for row in rows], self.num_ranks)
        weights = [torch.zeros_like(row.advantage) for row in rows]
        batch = make_batch(rows, weights, dealt, self._temperature, not from_reference)
        tu.assign_non_tensor(batch, compute_loss=False)
        with _explained("update"):
            if from_reference and self.config.model.lora.rank is not None:
                # Without its adapters the policy is the model that the run started with.
                tu.assign_non_tensor(batch, no_lora_adapter=True)
                output = self._group.compute_log_prob(batch)
            elif from_reference:
                output = self._group.compute_ref_log_prob(batch)
            else:
                output = self._group.compute_log_prob(batch)
        mask = batch["response_mask"]
        parts = response_from_nested(output["log_probs"].float(), mask).unbind()
        found = {card: part.clone() for card, part in zip(dealt, parts, strict=True)}
        logprobs = [found[index] for index in range(len(rows))]
        if from_reference:
            return logprobs, []
        spread = response_from_nested(output["entropy"].float(), mask).unbind()
        entropy = {card: part.clone() for card, part in zip(dealt, spread, strict=True)}
        return logprobs, [entropy[index] for index in range(len(rows))]

    def step(self, rows: Sequence[Row], weights: Sequence[Tensor]) -> StepSums:
        """Take one optimizer step on the rows of one mini-batch.

        Args:
            weights: f32[T] for each row, what each token counts for; see `role_weights`.
        Raises:
            UserError: the gradient is not finite; the weights are still those of the step before.
        """
        from verl.utils import tensordict_utils as tu

        dealt = deal([row.num_tokens for row in rows], self.num_ranks)
        batch = make_batch(rows, weights, dealt, self._temperature)
        tu.assign_non_tensor(
            batch,
            global_batch_size=len(dealt),
            mini_batch_size=len(dealt),
            epochs=1,
            seed=0,
            dataloader_kwargs={"shuffle": False},
        )
        with _explained("update"):
            told = tu.get(self._group.update_actor(batch), "metrics")
        norm = float(_last(told["grad_norm"]))
        if not torch.isfinite(torch.tensor(norm)):
            rate = self.config.optimizer.lr
            raise UserError(
                f"the gradient's norm is {norm}: training has diverged; start anew with a lower "
                f"optimizer.lr than {rate}"
            )
        agent, judge = (
            {name: float(_last(told[f"declutch/{role}/{name}"])) for name in SUMS}
            for role in ("agent", "judge")
        )
        return StepSums(norm, agent, judge)

    def save(self, folder: Path) -> None:
        """Write the model as a Hugging Face folder, with every rank's part in a folder below.

        Args:
            folder: there already, and seen by all machines; its tokenizer is left to the caller.
        """
        shards = folder / SHARDS
        # PyTorch's own message for a full disk does not name it.
        free = shutil.disk_usage(folder).free // 2**20
        with _explained(f"save to {folder}, on a disk with {free:,} MiB free"):
            self._group.save_checkpoint(str(shards), None, 0, None)
            self._export(folder, shards / "huggingface")

    def _export(self, folder: Path, written: Path) -> None:
        """Make a model of a cluster's checkpoint of what verl wrote of one."""
        for path in sorted(written.iterdir()):
            # verl writes its own form of the tokenizer; ours is the one that the model came with.
            if path.name.startswith(("config", "generation_config", "model", "pytorch_model")):
                path.rename(folder / path.name)
        shutil.rmtree(written)
        lora = self.config.model.lora
        finish_export(folder, None if lora.rank is None else lora.alpha / lora.rank)

    def close(self) -> None:
        """End all processes of the run; a Ray that was joined goes on without them."""
        import ray

        ray.shutdown()


def read_outline(config: Config) -> tuple[PreTrainedModel, int]:
    """Make the model of a cluster's run without its weights, and say how long a sequence may be.

    Raises:
        UserError: no configuration of a causal language model is there.
    """
    path = config.model.path
    try:
        shapes = AutoConfig.from_pretrained(path)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(shapes)
    # transformers raises many types for a path that holds no such model.
    except Exception as error:
        raise UserError(f"no model can be read from {path!r} ({error_reason(error)})") from None
    with suppress(OSError):
        model.generation_config = GenerationConfig.from_pretrained(path)
    limit = getattr(shapes.get_text_config(), "max_position_embeddings", None)
    most = config.cluster.max_model_tokens
    max_tokens = most if limit is None else min(most, int(limit))
    if max_tokens <= response_limit(config):
        raise UserError(
            f"{max_tokens} tokens of a prompt with its response (cluster.max_model_tokens={most}, "
            f"and {limit} positions of the model) leave no room beside a response of "
            f"{response_limit(config)}; raise the one or lower agent.max_response_tokens"
        )
    return model, max_tokens


def check_shards(checkpoint: Path, num_ranks: int) -> None:
    """Make sure that a checkpoint is of a cluster of as many GPUs.

    Raises:
        UserError: it is not.
    """
    found = sorted((checkpoint / SHARDS).glob("optim_world_size_*_rank_0.pt"))
    if not found:
        raise UserError(
            f"{checkpoint} has no folder {SHARDS}: it was not written by `declutch cluster train`; "
            "go on with `declutch train`, or start from its weights with model.path"
        )
    size = int(found[0].name.split("_")[3])
    if size != num_ranks:
        raise UserError(
            f"{checkpoint} was written by {size} GPUs, but cluster.nodes times "
            f"cluster.gpus_per_node is {num_ranks}; go on with {size}, or start from its weights "
            "with model.path"
        )


def _compose(config: Config, max_tokens: int) -> Any:
    """verl's whole configuration: its defaults, ours, and `cluster.verl`."""
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    with initialize_config_module("verl.trainer.config", version_base=None):
        told = compose("ppo_trainer")
    OmegaConf.set_struct(told, False)
    ours = {**verl_settings(config, max_tokens), **(config.cluster.verl or {})}
    for key, value in ours.items():
        OmegaConf.update(told, key, value, force_add=True)
    OmegaConf.resolve(told)
    return told


def _start_ray(config: Config, told: Any) -> None:
    import ray
    from omegaconf import OmegaConf
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    if ray.is_initialized():
        ray.shutdown()
    given = OmegaConf.to_container(told.ray_kwargs.ray_init)
    given.pop("runtime_env", None)
    environment = get_ppo_ray_runtime_env(told)
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment["env_vars"] = {**environment["env_vars"], **passed}
    if config.cluster.address is not None:
        given = {"address": config.cluster.address}
    ray.init(**given, runtime_env=environment, log_to_driver=False, logging_level="ERROR")
    asked = config.cluster.nodes * config.cluster.gpus_per_node
    there = int(ray.cluster_resources().get("GPU", 0))
    if there < asked:
        ray.shutdown()
        raise UserError(
            f"cluster.nodes={config.cluster.nodes} times cluster.gpus_per_node="
            f"{config.cluster.gpus_per_node} are {asked} GPUs, but Ray has {there}; lower them, or "
            "start Ray on the other machines and set cluster.address=auto"
        )


def _start_verl(told: Any, config: Config) -> tuple[Any, Any, Any]:
    """The learner's workers, the servers beside them, and what hands these the weights."""
    import ray
    from verl.checkpoint_engine import CheckpointEngineManager
    from verl.single_controller.ray import (
        RayClassWithInitArgs,
        RayWorkerGroup,
        ResourcePoolManager,
        create_colocated_worker_cls,
    )
    from verl.trainer.ppo.utils import Role
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.engine_workers import ActorRolloutRefWorker
    from verl.workers.rollout.llm_server import LLMServerManager

    has_own_reference = config.loss.kl_coef > 0 and config.model.lora.rank is None
    role = Role.ActorRolloutRef if has_own_reference else Role.ActorRollout
    spec = {"pool": [config.cluster.gpus_per_node] * config.cluster.nodes}
    manager = ResourcePoolManager(resource_pool_spec=spec, mapping={role: "pool"})
    manager.create_resource_pool()
    pool = manager.get_resource_pool(role)
    worker = RayClassWithInitArgs(
        cls=ray.remote(ActorRolloutRefWorker), config=told.actor_rollout_ref, role=str(role)
    )
    together = create_colocated_worker_cls(class_dict={str(role): worker})
    device = told.trainer.device
    colocated = RayWorkerGroup(resource_pool=pool, ray_cls_with_init=together, device_name=device)
    group = colocated.spawn(prefix_set=[str(role)])[str(role)]
    group.init_model()
    servers = LLMServerManager.create(config=told, worker_group=group, rollout_resource_pool=pool)
    replicas = CheckpointEngineManager(
        config=omega_conf_to_dataclass(told.actor_rollout_ref.rollout.checkpoint_engine),
        actor_wg=group,
        replicas=servers.get_replicas(),
    )
    return group, servers, replicas


def _start_players(
    config: Config, outline: Any, client: Any, max_tokens: int
) -> tuple[Players, list[Any]]:
    """The players, and what they are made of, which has to be kept for those that die."""
    import ray

    # One that dies is started anew; the episodes that it was at are counted as lost.
    made = ray.remote(num_cpus=1, max_restarts=-1, scheduling_strategy="SPREAD")(Player)
    # Ray forgets what nobody refers to.
    given = [ray.put(each) for each in (config, outline.generation_config, client, max_tokens)]
    handles = [made.remote(*given) for _ in range(config.cluster.players)]

    def get(answer: Any) -> list[Episode]:
        with _explained("play"):
            try:
                found: list[Episode] = ray.get(answer)
            except ray.exceptions.RayTaskError:
                # What was raised in a process that lives, if only because a server has died.
                raise
            except ray.exceptions.RayActorError as error:
                raise LostPlayerError(type(error).__name__) from error
        return found

    return Players(handles, get), given


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what Ray and verl raise into one message."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"declutch cluster train needs verl and Ray ({error_reason(error)}); install them "
            f"into an environment of their own: {install_command('cluster')}"
        ) from None
    # Ray wraps whatever a worker raised in types of its own, and a dead worker in others.
    except Exception as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UserError):
            raise UserError(str(cause)) from error
        if isinstance(error, UserError | LostPlayerError):
            raise
        raise UserError(
            f"the cluster failed to {what}: {last_line(error)}; the run is complete up to its last "
            "checkpoint, and --resume goes on from there"
        ) from error


def _last(value: Any) -> float:
    """verl reports a number, or a list of one for each mini-batch of a call."""
    return float(value[-1] if isinstance(value, list | tuple) else value)
