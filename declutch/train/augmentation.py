"""Find the distractors of a training run: texts of its suite that its model can read."""

from __future__ import annotations

from declutch.config.run import Config
from declutch.envs.augmentation import Augmentation, collect_excerpts
from declutch.envs.excerpts import Excerpt
from declutch.envs.protocol import Suite
from declutch.ground.errors import UserError
from declutch.rollout.policy import Policy


def find_augmentation(config: Config, suite: Suite, policy: Policy) -> Augmentation | None:
    """Find the distractors that training shows in a run; None where it is to show none.

    They are a function of the run's seed, its training tasks and its model's words, so that a
    resumed run finds the same.

    Raises:
        UserError: the suite offers none, or none that the model can read.
    """
    wanted = config.augmentation
    if not wanted.enabled:
        return None
    found = collect_excerpts(suite, config.train.split, config.seed)
    if not found:
        raise UserError(
            f"augmentation.enabled=true, but play in {suite.name} shows nothing to distract with: "
            "its observations have no sentence of 2 to 24 words besides the task. Give its wording "
            "a function `excerpts`, or set augmentation.enabled=false"
        )
    readable = tuple(excerpt for excerpt in found if _is_readable(excerpt, policy))
    if not readable:
        raise UserError(
            f"augmentation.enabled=true, but none of the {len(found)} distractors of {suite.name} "
            f"can be said in agent.prompt={config.agent.prompt} in words that {config.model.path} "
            "knows; take agent.prompt=full, or set augmentation.enabled=false"
        )
    return Augmentation(readable, wanted.sentences, wanted.probability)


def _is_readable(excerpt: Excerpt, policy: Policy) -> bool:
    """Whether a prompt can show it; a word-level tokenizer has no other words than its suite's."""
    if policy.codec.form == "full":
        return True
    unknown = policy.tokenizer.unk_token_id
    if not excerpt.short:
        return False
    ids = policy.tokenizer.encode(excerpt.short, add_special_tokens=False)
    return unknown is None or unknown not in ids
