"""Metrics and phases of a training run, in the order in which they are shown."""

from __future__ import annotations

SECTIONS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "agent",
        (
            ("success", "agent/success", "%"),
            ("mean score", "agent/score", "%"),
            ("finished positive", "agent/finished_positive", "%"),
            ("return", "agent/return", ""),
            ("steps", "agent/num_steps", ""),
            ("tokens per response", "agent/response_tokens", ""),
            ("invalid", "agent/invalid_share", "%"),
            ("inadmissible", "agent/inadmissible_share", "%"),
            ("repeated", "agent/repeated_share", "%"),
            ("looped", "agent/looped_share", "%"),
            ("timed out", "agent/timed_out_share", "%"),
            ("equal-return groups", "agent/zero_variance_share", "%"),
            ("environment errors", "agent/env_errors", ""),
        ),
    ),
    (
        "judge",
        (
            ("accuracy", "judge/accuracy", "%"),
            ("accuracy, good", "judge/accuracy_good", "%"),
            ("accuracy, bad", "judge/accuracy_bad", "%"),
            ('says "1"', "judge/one_share", "%"),
            ("unreadable", "judge/unreadable_share", "%"),
            ("questions", "judge/num_questions", ""),
            ("rules in prompts", "suggestions/num_rules", ""),
        ),
    ),
    (
        "update",
        (
            ("KL", "update/kl", ""),
            ("clipped", "update/clip_share", "%"),
            ("entropy", "update/entropy", ""),
            ("gradient norm", "update/grad_norm", ""),
            ("  agent", "update/grad_norm_agent", ""),
            ("  judge", "update/grad_norm_judge", ""),
            ("  cosine", "update/grad_cosine", ""),
            ("mismatch", "update/mismatch_mean", ""),
        ),
    ),
    (
        "critic",
        (
            ("explained variance", "critic/explained_variance", "%"),
            ("loss", "critic/loss", ""),
            ("clipped", "critic/clip_share", "%"),
            ("gradient norm", "critic/grad_norm", ""),
        ),
    ),
)


PHASES = ("play", "label", "judge", "update", "save", "eval")


PLAIN_METRICS = (
    ("success", "agent/success", "%"),
    ("score", "agent/score", "%"),
    ("steps", "agent/num_steps", ""),
    ("invalid", "agent/invalid_share", "%"),
    ("repeated", "agent/repeated_share", "%"),
    ("looped", "agent/looped_share", "%"),
    ("judge", "judge/accuracy", "%"),
    ("KL", "update/kl", ""),
    ("grad", "update/grad_norm", ""),
    ("cos", "update/grad_cosine", ""),
    ("tok/s", "time/tokens_per_second", ""),
)
