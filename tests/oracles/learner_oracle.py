"""Slow, obvious versions of what `declutch.learner` computes in batches."""

import torch


def response_distribution(model, sample, temperature):
    """[T, V] log-probabilities, from one full forward pass of one unpadded sample."""
    ids = torch.cat([sample.prompt_ids, sample.response_ids])
    logits = model(input_ids=ids[None]).logits[0]
    start = len(sample.prompt_ids)
    rows = []
    for place in range(len(sample.response_ids)):
        scores = logits[start + place - 1] / temperature
        allowed = sample.allowed_ids[place] if sample.allowed_ids else None
        if allowed is not None:
            blocked = torch.ones_like(scores, dtype=torch.bool)
            blocked[list(allowed)] = False
            scores = scores.masked_fill(blocked, float("-inf"))
        rows.append(torch.log_softmax(scores, dim=-1))
    return torch.stack(rows)


def token_logprobs(model, sample, temperature):
    """[T]."""
    distribution = response_distribution(model, sample, temperature)
    return distribution[torch.arange(len(sample.response_ids)), sample.response_ids]


def minibatch_loss(model, samples, config, temperature, max_response_tokens):
    """The loss of METHOD section 3 by loops over samples and tokens."""
    terms = []
    for sample in samples:
        logprobs = token_logprobs(model, sample, temperature)
        per_token = []
        mean_ratio = (logprobs - sample.old_logprobs).mean().exp()
        for place, logprob in enumerate(logprobs):
            old = sample.old_logprobs[place]
            ratio = mean_ratio if config.ratio == "sequence" else (logprob - old).exp()
            clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
            advantage = sample.advantage[place]
            importance = (old - sample.sample_logprobs[place]).exp()
            weight = torch.minimum(importance, torch.tensor(config.importance_cap))
            term = -weight * torch.minimum(ratio * advantage, clipped * advantage)
            if config.kl_coef > 0:
                gap = sample.ref_logprobs[place] - logprob
                term = term + config.kl_coef * (gap.exp() - gap - 1)
            per_token.append(term)
        terms.append(torch.stack(per_token))
    if config.aggregation == "token-mean":
        return torch.cat(terms).mean()
    if config.aggregation == "seq-mean-token-mean":
        return torch.stack([term.mean() for term in terms]).mean()
    return torch.stack([term.sum() / max_response_tokens for term in terms]).mean()
