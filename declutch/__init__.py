"""Reinforcement learning of language-model agents that generalise.

The package trains agents that read and write text, by GRPO and its relatives, and lets them learn
beside it to judge their own steps. The method and its diagnostics are those of two papers, which
other docstrings call GC and RM:

- GC: *Gradient Coupling: The Hidden Barrier to Generalization in Agentic Reinforcement Learning*
- RM: *Rethinking Reward Miscalibration of GRPO in Agentic RL*

The names in `__all__` are for programs that use the package; each is loaded when it is first asked
for, so that importing the package takes no time. A whole training run is

    from declutch import evaluate, load_config, make_cold_start, train_agent

    config = load_config("tiny", ["env.suite=households"])
    model = make_cold_start(config, "runs/first")
    agent = train_agent(config, "runs/first/run", model=model)
    print(evaluate(agent, config).success)

The room `declutch.train` is a package of its own, which is why the function that trains is offered
as `train_agent`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from declutch.cli.notebook import evaluate, make_cold_start, train_agent
    from declutch.config.algorithm import MethodConfig
    from declutch.config.files import load_config
    from declutch.config.run import Config
    from declutch.credit.registry import Method
    from declutch.envs.protocol import (
        Advice,
        Expert,
        Observation,
        Oracle,
        Suite,
        TextEnv,
        Transition,
    )
    from declutch.envs.registry import make_suite
    from declutch.envs.wording import Wording
    from declutch.evaluation.players import Player, model_player, scripted_player
    from declutch.evaluation.results import EvalResult
    from declutch.ground.errors import UserError
    from declutch.judge.tasks import AuxiliaryTask
    from declutch.records import (
        Action,
        ActionMask,
        Completion,
        Episode,
        Outcome,
        Request,
        SamplingParams,
        Step,
        StepTable,
        TaskId,
    )
    from declutch.report.live import TrainWatcher
    from declutch.rollout.engine import Engine
    from declutch.rollout.policy import Policy, load_policy
    from declutch.runs.folder import RunFolder
    from declutch.train.session import Silent, Watcher

__all__ = [
    "Action",
    "ActionMask",
    "Advice",
    "AuxiliaryTask",
    "Completion",
    "Config",
    "Engine",
    "Episode",
    "EvalResult",
    "Expert",
    "Method",
    "MethodConfig",
    "Observation",
    "Oracle",
    "Outcome",
    "Player",
    "Policy",
    "Request",
    "RunFolder",
    "SamplingParams",
    "Silent",
    "Step",
    "StepTable",
    "Suite",
    "TaskId",
    "TextEnv",
    "TrainWatcher",
    "Transition",
    "UserError",
    "Watcher",
    "Wording",
    "evaluate",
    "load_config",
    "load_policy",
    "make_cold_start",
    "make_suite",
    "model_player",
    "scripted_player",
    "train_agent",
]
__version__ = "0.1.0"

_HOMES: Final = {
    "Action": "records",
    "ActionMask": "records",
    "Advice": "envs.protocol",
    "AuxiliaryTask": "judge.tasks",
    "Completion": "records",
    "Config": "config.run",
    "Engine": "rollout.engine",
    "Episode": "records",
    "EvalResult": "evaluation.results",
    "Expert": "envs.protocol",
    "Method": "credit.registry",
    "MethodConfig": "config.algorithm",
    "Observation": "envs.protocol",
    "Oracle": "envs.protocol",
    "Outcome": "records",
    "Player": "evaluation.players",
    "Policy": "rollout.policy",
    "Request": "records",
    "RunFolder": "runs.folder",
    "SamplingParams": "records",
    "Silent": "train.session",
    "Step": "records",
    "StepTable": "records",
    "Suite": "envs.protocol",
    "TaskId": "records",
    "TextEnv": "envs.protocol",
    "TrainWatcher": "report.live",
    "Transition": "envs.protocol",
    "UserError": "ground.errors",
    "Watcher": "train.session",
    "Wording": "envs.wording",
    "evaluate": "cli.notebook",
    "load_config": "config.files",
    "load_policy": "rollout.policy",
    "make_cold_start": "cli.notebook",
    "make_suite": "envs.registry",
    "model_player": "evaluation.players",
    "scripted_player": "evaluation.players",
    "train_agent": "cli.notebook",
}
"""The module of each public name; a type checker reads it from the imports above."""

if not TYPE_CHECKING:  # A type checker would take every name for a public one.

    def __getattr__(name: str) -> Any:
        """A public name, from the module that it is defined in."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_HOMES[name]}")
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
