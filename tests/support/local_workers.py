"""Stand-ins for a cluster's workers: one process that reckons as two ranks would."""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from declutch.cluster.loss import LossFields, deal, weighted_loss
from declutch.cluster.verl import SHARDS, StepSums
from declutch.learner.optimizer import build_optimizer
from declutch.rollout.collect import collect
from declutch.rollout.policy import load_policy


def pad(values):
    return nn.utils.rnn.pad_sequence([value.float() for value in values], batch_first=True)


class LocalWorkers:
    """What `Workers` is to a learner, with the whole model here and two ranks one after another."""

    num_ranks = 2
    rows_a_pass = 5

    def __init__(self, config, checkpoint=None):
        self.config = config
        policy = load_policy(checkpoint or config.model.path, config)
        self.outline = self.model = policy.model
        self.engine = policy.engine
        self.players = SimpleNamespace(collect=collect)
        first = load_policy(config.model.path, config) if checkpoint else policy
        self.reference = deepcopy(first.model)
        self.optimizer = build_optimizer(self.model, config.optimizer)
        if checkpoint is not None:
            self.optimizer.load_state_dict(torch.load(checkpoint / SHARDS / "optim.pt"))
        self.is_asleep = False

    def sleep(self):
        self.is_asleep = True

    def sync(self, iteration):
        self.engine.sync(self.model)
        self.is_asleep = False

    def logprobs(self, rows, from_reference=False):
        assert self.is_asleep
        with torch.no_grad():
            model = self.reference if from_reference else self.model
            found = [self._look_up(model, row) for row in rows]
        spread = [] if from_reference else [entropy for _, entropy in found]
        return [logprobs for logprobs, _ in found], spread

    def step(self, rows, weights):
        assert self.is_asleep
        dealt = deal([row.num_tokens for row in rows], self.num_ranks)
        share = len(dealt) // self.num_ranks
        total = None
        self.optimizer.zero_grad()
        for first in range(0, len(dealt), share):
            hand = [card for card in dealt[first : first + share] if card is not None]
            for begin in range(0, len(hand), self.rows_a_pass):
                cards = hand[begin : begin + self.rows_a_pass]
                sums = self._backward([rows[c] for c in cards], [weights[c] for c in cards])
                total = sums if total is None else {k: v + sums[k] for k, v in total.items()}
        norm = float(
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.grad_clip)
        )
        self.optimizer.step()
        agent, judge = (
            {k.partition("/")[2]: float(v) for k, v in total.items() if k.startswith(role)}
            for role in ("agent/", "judge/")
        )
        return StepSums(norm, agent, judge)

    def save(self, folder: Path):
        self.model.save_pretrained(folder)
        (folder / SHARDS).mkdir()
        torch.save(self.optimizer.state_dict(), folder / SHARDS / "optim.pt")

    def close(self):
        pass

    def _backward(self, rows, weights):
        mask = pad([torch.ones(len(row.response_ids)) for row in rows]).bool()
        roles = torch.tensor([row.is_judge for row in rows])[:, None].expand(mask.shape)
        references = [row.ref_logprobs for row in rows]
        fields = LossFields(
            mask,
            pad(weights),
            roles,
            pad([row.advantage for row in rows]),
            pad([row.old_logprobs for row in rows]),
            pad([row.sample_logprobs for row in rows]),
            None if references[0] is None else pad(references),
        )
        logprobs = pad([self._look_up(self.model, row)[0] for row in rows])
        loss, sums = weighted_loss(logprobs, fields, self.config.loss)
        loss.backward()
        return sums

    def _look_up(self, model, row):
        """Log-probabilities and entropies of a response's tokens."""
        ids = torch.cat([row.prompt_ids, row.response_ids])
        scores = model(ids[None]).logits[0] / self.config.rollout.temperature
        size = len(row.response_ids)
        spread = scores.log_softmax(-1)[-size - 1 : -1]
        entropy = -(spread.exp() * spread).sum(-1)
        return spread.gather(1, row.response_ids[:, None])[:, 0], entropy
