"""ScienceWorld's 30 tasks, played on the package's simulator, with a client of our own.

Takes the section `env.scienceworld` of the settings. Gives `ScienceWorldSuite`: environments that
share a bounded pool of simulators, each in a JVM of its own (`pool.py`, `simulator.py`); an expert
and an oracle that plan by replay from the simulator's gold paths (`expert.py`, `gold.py`,
`spelling.py`); a guide who walks through the rooms (`tour.py`); and the words of the prompts.

May import: `records`, `errors`, `streams`, `files`, `config`, the modules of `envs`.

To change what is asked of the simulator, compare with the package's own client (`reference.py`):
`benchmarks/scienceworld_env.py` plays both and times them.
"""
