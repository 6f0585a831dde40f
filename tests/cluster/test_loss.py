"""The gradient of a cluster's ranks together is the one that a single learner computes."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from ranks import LOSSES, MAX_TOKENS, TEMPERATURE, V, learner_gradient, rows_of, samples
from tiny_models import tiny_model

from declutch.cluster.loss import LossFields, Row, deal, role_weights, weighted_loss


def padded(values):
    return torch.nn.utils.rnn.pad_sequence([value.float() for value in values], batch_first=True)


def pass_loss(model, rows, weights, loss):
    """The loss of one pass of one rank, computed one row after the other and then padded."""
    logprobs = []
    for row in rows:
        ids = torch.cat([row.prompt_ids, row.response_ids])
        scores = model(ids[None]).logits[0] / TEMPERATURE
        size = len(row.response_ids)
        chosen = scores.log_softmax(-1)[-size - 1 : -1]
        logprobs.append(chosen.gather(1, row.response_ids[:, None])[:, 0])
    mask = padded([torch.ones(len(row.response_ids)) for row in rows]).bool()
    judge = torch.tensor([row.is_judge for row in rows])[:, None].expand(mask.shape)
    references = [row.ref_logprobs for row in rows]
    fields = LossFields(
        mask,
        padded(weights),
        judge,
        padded([row.advantage for row in rows]),
        padded([row.old_logprobs for row in rows]),
        padded([row.sample_logprobs for row in rows]),
        None if references[0] is None else padded(references),
    )
    return weighted_loss(padded_logprobs(logprobs, mask), fields, loss)


def padded_logprobs(logprobs, mask):
    """Outside of the responses stands what must not matter."""
    filled = torch.nn.utils.rnn.pad_sequence(logprobs, batch_first=True, padding_value=-3e4)
    assert filled.shape == mask.shape
    return filled


FILL = Row(
    torch.tensor([1]), torch.tensor([1]), False, *(torch.zeros(1) for _ in range(3)), torch.zeros(1)
)


def ranks_gradient(rows, weights, loss, num_ranks, rows_a_pass):
    """The mean over ranks of what each adds up over its passes, as FSDP and DDP reduce it."""
    hands = torch.tensor(
        [-1 if card is None else card for card in deal([r.num_tokens for r in rows], num_ranks)]
    ).chunk(num_ranks)
    total = None
    for hand in hands:
        model = tiny_model("qwen2", V)
        for cards in hand.split(rows_a_pass):
            chosen = [FILL if card < 0 else rows[card] for card in cards.tolist()]
            share = [torch.zeros(1) if card < 0 else weights[card] for card in cards.tolist()]
            if rows[0].ref_logprobs is None:
                chosen = [replace(row, ref_logprobs=None) for row in chosen]
            part, _ = pass_loss(model, chosen, share, loss)
            (part * num_ranks).backward()
        own = [parameter.grad for parameter in model.parameters()]
        total = own if total is None else [a + b for a, b in zip(total, own, strict=True)]
    return [part / num_ranks for part in total]


@pytest.mark.parametrize(("name", "num_ranks"), list(product(LOSSES, (2, 3))))
def test_ranks_together_have_the_learners_gradient(name, num_ranks):
    loss, weight = LOSSES[name], 0.3
    agent, judge = samples()
    expected = learner_gradient(agent, judge, loss, weight)
    agent_rows, judge_rows = (rows_of(each, loss.kl_coef > 0) for each in (agent, judge))
    weights = [
        *role_weights(agent_rows, loss, MAX_TOKENS),
        *role_weights(judge_rows, loss, MAX_TOKENS, weight),
    ]
    found = ranks_gradient([*agent_rows, *judge_rows], weights, loss, num_ranks, rows_a_pass=3)
    largest = max(float(part.abs().max()) for part in expected)
    assert largest > 1e-3
    for here, there in zip(found, expected, strict=True):
        assert float((here - there).abs().max()) < 1e-5 * max(1.0, largest)


def test_roles_have_normalisers_of_their_own():
    agent, judge = samples()
    loss = LOSSES["plain"]
    rows = rows_of(agent, False)
    alone = role_weights(rows, loss, MAX_TOKENS)
    assert sum(float(part.sum()) for part in alone) == pytest.approx(1)
    judged = role_weights(rows_of(judge, False), loss, MAX_TOKENS, 0.25)
    assert sum(float(part.sum()) for part in judged) == pytest.approx(0.25)


def test_rows_that_fill_up_change_nothing_and_count_nowhere():
    loss = LOSSES["plain"]
    rows = rows_of(samples()[0], False)
    weights = role_weights(rows, loss, MAX_TOKENS)
    model = tiny_model("qwen2", V)
    alone, sums = pass_loss(model, rows, weights, loss)
    fill = replace(FILL, ref_logprobs=None, sample_logprobs=torch.full((1,), -30.0))
    filled, more = pass_loss(model, [*rows, fill], [*weights, torch.zeros(1)], loss)
    assert torch.equal(alone, filled)
    assert {k: float(v) for k, v in sums.items()} == {k: float(v) for k, v in more.items()}
    assert float(sums["agent/num_capped"]) > 0
    assert float(sums["judge/loss"]) == 0


@pytest.mark.parametrize(("count", "num_ranks"), [(0, 2), (1, 4), (7, 2), (8, 4), (31, 8)])
def test_every_rank_gets_equally_many_rows_and_every_row_one_rank(count, num_ranks):
    dealt = deal([10 + index % 5 for index in range(count)], num_ranks)
    assert len(dealt) % num_ranks == 0
    assert len(dealt) == max(-(-count // num_ranks), 1) * num_ranks
    assert sorted(card for card in dealt if card is not None) == list(range(count))


def test_long_rows_are_shared_out():
    sizes = [100, 90, 80, 70, 10, 10, 10, 10]
    dealt = deal(sizes, 2)
    loads = [sum(sizes[card] for card in hand) for hand in (dealt[:4], dealt[4:])]
    assert abs(loads[0] - loads[1]) <= 20
