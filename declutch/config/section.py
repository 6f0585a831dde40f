"""The base class of every section of settings, and the choices that several sections share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Reasoning = Literal["think", "meta"]
"""How an agent reasons before it acts, see `agent.reasoning`."""

JudgePrompt = Literal["gc", "rm"]
"""Which paper's question a judge is asked, see `gcd.judge_prompt`."""


class Section(BaseModel):
    """The base class of every section of settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
