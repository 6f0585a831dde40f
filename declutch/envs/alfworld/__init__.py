"""ALFWorld's household games, played by an engine of our own, exactly like the official one.

Takes a folder of game files (`game.tw-pddl`). Gives `AlfworldSuite`: its environments, an expert
that sees only what the agent sees, an oracle that labels actions, and the words of the prompts.
A file becomes a `World` once (`game.py`, `compile.py`), and only if it states the official
mechanics (`domain.py`, `grammar.py`). What an action does is in `dynamics.py`, how it is answered
in `text.py`; both are on the path of every step that is played.

May import: `records`, `errors`, `streams`, `files`, `config`, the modules of `envs`.

To change what is played, compare with the official engine: `declutch games verify` (`verify.py`)
plays both in lockstep. Whatever changes `World` raises `game_cache.CACHE_VERSION`.
"""
