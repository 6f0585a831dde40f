"""Problems of mathematics as tasks of one step with a verifier, for contrast with agent tasks.

Takes a file of the MATH data set, or generates problems by subject with reasoning-gym. Gives
`MathSuite`: its environment asks one problem and verifies the answer, its expert knows the
reference answers, and its wording has prompt templates of its own (`templates/`).

May import: `records`, `errors`, `streams`, `files`, `config`, the modules of `envs`.

To add a subject, name the generators of its problems in `problems.TOPICS`, and say in `suite.py`
whether it is trained on or held out.
"""
