"""The agent's side of the conversation: from what it has seen to a prompt, from text to an action.

Takes a `View` of an episode and the suite's `Wording`. Gives the prompt's text (`prompt.py`, by the
files in `templates/`), its token ids and what may be answered (`codec.py`, `speaker.py`), and the
`Action` in a sampled response (`parse.py`). Nothing here samples, and nothing a model can emit
makes it fail.

May import: `records`, `errors`, `streams`, `files`, `config`, `envs`, `models`, `credit`.

To add a prompt, write a file in `templates/`, a function that renders it, and a golden test that
holds its bytes. To add a role that a model can play, write a class with the methods of `Speaker`:
`rollout.collect` plays it as it plays the agent.
"""
