"""Model folders and files of labelled samples that are small enough for brute force."""

import json

import torch
from tiny_models import tiny_model

VOCABULARY = 24


def save_model(folder, name="qwen2", seed=0, vocab_size=VOCABULARY, **changes):
    """A tiny model as a folder without a tokenizer."""
    tiny_model(name, vocab_size, seed, **changes).save_pretrained(folder)
    return folder


def make_rows(per_population=4, seed=0, steps_per_episode=2):
    """Labelled samples in all four populations, each episode of one class.

    Responses are of few tokens, so that the samples are coupled.
    """
    draw = torch.Generator().manual_seed(seed)

    def ids(low, high, tokens):
        size = int(torch.randint(low, high, (1,), generator=draw))
        # Token 0 pads: autograd leaves its embedding alone, though a step may move it.
        return torch.randint(1, tokens, (size,), generator=draw).tolist()

    return [
        {
            "prompt_ids": ids(2, 9, VOCABULARY),
            "response_ids": ids(1, 6, 4),
            "label": label,
            "domain": domain,
            "episode": f"{domain}{label}{number // steps_per_episode}",
            "advantage": float(torch.randn(1, generator=draw)),
            "id": f"{domain}{label}-{number}",
        }
        for number in range(per_population)
        for domain in ("in", "out")
        for label in (1, 0)
    ]


def write_rows(path, rows):
    """The rows as a JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
