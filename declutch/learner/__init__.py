"""Learner: the optimizer steps of one iteration.

Takes steps with their advantages, and what an auxiliary task teaches, each as a `Lesson`. Changes
the model in place and gives statistics of what it did. The way of a sample is `samples`, `rows`
and `pack` (samples to padded batches), `forward` (log-probabilities), `loss`, `update`; a critic
and a value head are trained beside the policy, and `probe` reads models without a gradient.

May import: `records`, `errors`, `streams`, `files`, `config`, `envs`, `models`, `credit`; of these
it needs neither `envs` nor `credit`, since it does not know what a sample was played for.

To add a file, give it one stage of that way or one thing that is trained; it takes its own section
of the settings, never a method's. What teaches in a way of its own is a new `Lesson`.
"""
