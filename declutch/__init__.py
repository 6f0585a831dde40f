"""declutch: reinforcement learning of language-model agents that generalise."""

__version__ = "0.1.0"
