"""The environments of declutch under a name that verifiers finds: `vf-eval declutch-games`.

Everything is in `declutch.envs.adapters`. Verifiers imports environments by the name of
a package at the top, so that this one has to be there.
"""

from declutch.envs.adapters.verifiers import GameEnv, GameTaskset
from declutch.envs.adapters.verifiers_chat import ChatHarness

__all__ = ["ChatHarness", "GameEnv", "GameTaskset"]
