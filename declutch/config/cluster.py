"""Settings of `declutch cluster train`: how many GPUs and nodes, and what verl is told besides."""

from __future__ import annotations

from pydantic import Field, JsonValue

from declutch.config.section import Section


class ClusterConfig(Section):
    """Settings of a cluster that trains by verl: machines, Ray, and verl's own settings."""

    nodes: int = Field(default=1, ge=1)
    """How many machines train."""
    gpus_per_node: int = Field(default=8, ge=1)
    """How many GPUs of each machine train and sample, in turns."""
    address: str | None = None
    """The Ray cluster to join: "auto" finds the one that runs on this machine, and "ray://host:port"
    is one elsewhere. Null starts Ray on this machine alone, which is enough for cluster.nodes=1."""
    tensor_parallel: int = Field(default=1, ge=1)
    """Over how many GPUs of a machine one copy of the model is spread where it samples."""
    players: int = Field(default=8, ge=1)
    """How many processes play environments, wherever Ray places them. Each plays its share of the
    episodes at once, and as many as the environment allows in one process: with ScienceWorld
    env.scienceworld.max_live, each of them a Java process."""
    max_model_tokens: int = Field(default=4096, ge=64)
    """The most tokens of a prompt with its response, or what the model's positions allow, if that
    is less. vLLM reserves memory by it; a longer prompt is shortened by its oldest history."""
    offload: bool = False
    """Whether weights and the optimizer's state wait in the CPU's memory while they are unused."""
    verl: dict[str, JsonValue] | None = None
    """Further settings of verl, such as {actor_rollout_ref.model.use_remove_padding: false}; what a
    setting of this project decides cannot be among them. Null
    gives none."""
