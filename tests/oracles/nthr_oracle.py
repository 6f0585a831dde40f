"""NTHR by double loops over tokens, with every vocabulary-wide vector written out."""

import torch

from declutch.records import Probes


def token_states(model, step, temperature):
    """[(token, h [D], e [V])] of a step's response, from one full forward pass of it alone."""
    ids = torch.cat([step.prompt_ids, step.response_ids])
    with torch.no_grad():
        hidden = model.base_model(input_ids=ids[None]).last_hidden_state[0]
        logits = model(input_ids=ids[None]).logits[0]
    found = []
    for place, token in enumerate(step.response_ids.tolist()):
        at = len(step.prompt_ids) + place - 1
        scores = logits[at] / temperature
        allowed = step.allowed_ids[place] if step.allowed_ids else None
        if allowed is not None:
            blocked = torch.ones_like(scores, dtype=torch.bool)
            blocked[list(allowed)] = False
            scores = scores.masked_fill(blocked, float("-inf"))
        error = -torch.softmax(scores, -1)
        error[token] += 1
        found.append((token, hidden[at], error))
    return found


def make_probes(model, steps, temperature):
    """What the learner's pass would yield for the steps' K response tokens."""
    states = [state for step in steps for state in token_states(model, step, temperature)]
    sets = [ids for step in steps for ids in step.allowed_ids or (None,) * len(step.response_ids)]
    readout = model.get_output_embeddings().weight.detach()
    return Probes(
        token_ids=torch.tensor([token for token, _, _ in states]),
        hidden=torch.stack([hidden for _, hidden, _ in states]),
        readout=readout,
        temperature=temperature,
        allowed=tuple(sets),
    )


def score(states, positives):
    """s of each token of one sample.

    Args:
        states: of the sample's tokens.
        positives: states of each positive sample's tokens.
    """
    found = []
    for _, hidden, error in states:
        total = 0.0
        for positive in positives:
            for _, other_hidden, other_error in positive:
                total += float(error @ other_error) * float(hidden @ other_hidden)
        found.append(total)
    return found


def nthr(keys, is_won, states, advantages, beta):
    """[[advantage of each token] of each step].

    Args:
        keys: what makes a step belong to a matched group.
        is_won: whether the step's episode was.
        states: of each step's tokens.
        advantages: GRPO's, of each step.
    """
    found = []
    for key, won, tokens, advantage in zip(keys, is_won, states, advantages, strict=True):
        members = [index for index, other in enumerate(keys) if other == key]
        positives = [states[index] for index in members if is_won[index] and states[index]]
        rate = sum(is_won[index] for index in members) / len(members)
        factors = [1.0] * len(tokens)
        if not won and positives and advantage < 0:
            means = [sum(score(one, positives)) / len(one) for one in positives]
            threshold = beta * min(means)
            for place, value in enumerate(score(tokens, positives)):
                if value > threshold:
                    factors[place] = 2 * abs(0.5 - rate)
        found.append([factor * advantage for factor in factors])
    return found
