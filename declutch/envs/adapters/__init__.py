"""Adapters: the same environments for other people's trainers, and their environments here.

`games` is what all adapters share: a list of tasks, and a game that is played in turns, with seeds,
splits, partial scores, admissible commands, oracle labels and errors all kept. Every other module
is for one framework, and none is imported unless it is asked for. Verifiers imports environments by
the name of a package at the top, which is `declutch_games` beside this one.

May import what the other environments may: `ground`, `records` and `config`. A new framework is a
new module here that turns its calls into those of a `Game`, an extra in pyproject.toml, and a page
in docs/guides/.
"""
