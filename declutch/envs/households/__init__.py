"""Generated households: games in ALFWorld's format and of its six task types, from a seed.

Takes a seed and the number of games in each split. Gives a folder of game files, which the suite,
the engine, the expert and the wording of `alfworld/` play as they play the official ones.
Rooms and their furniture are tables (`rooms.py`), what is asked for is another (`tasks.py`); a
scene is a furnished room (`scene.py`), a game puts things into it (`game.py`), and `pddl.py`
writes it down.

May import: `records`, `errors`, `streams`, `files`, `config`, the modules of `envs`.

To add a room, an object or a task type, add rows to the tables, and raise `GENERATOR_VERSION`
in `generate.py`: the same seed must give the same bytes for as long as the version stays.
"""
