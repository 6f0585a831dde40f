"""ALFWorld's six task types, and which of them and which rooms a split or level holds.

Which types are held out follows the evaluations of GiGPO and RLVMR.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from declutch.envs.splits import Level

TRAINED_KINDS = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
)
HELD_OUT_KINDS = ("pick_cool_then_place_in_recep", "pick_two_obj_and_place")
KINDS = (*TRAINED_KINDS, *HELD_OUT_KINDS)
SPLITS = ("train", "valid_seen", "valid_unseen")
UNUSED_SPLITS: Mapping[str, str] = MappingProxyType(
    {"valid_train": "it is never used: it repeats training rooms and task types"}
)
"""Splits of the official release that stand for no level, and why."""

LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        "train": Level("train", None, "all training games"),
        "valid_seen": Level("valid_seen", None, "all games in rooms seen in training"),
        "valid_unseen": Level("valid_unseen", None, "all games in unseen rooms"),
        "rl-train": Level("train", TRAINED_KINDS, "games to train on"),
        "L0": Level("valid_seen", TRAINED_KINDS, "seen rooms, trained task types"),
        "L1": Level("valid_unseen", TRAINED_KINDS, "unseen rooms, trained task types"),
        "L2": Level("valid_unseen", HELD_OUT_KINDS, "unseen rooms, held-out task types"),
        "L0-train": Level("train", TRAINED_KINDS, "games trained on"),
        "L2-seen": Level("valid_seen", HELD_OUT_KINDS, "seen rooms, held-out task types"),
    }
)
