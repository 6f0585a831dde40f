"""What the actor learns beside acting: which steps are asked about, the answers, and the labels.

Takes the episodes that were just played; gives a `JudgeRound`, which holds questions about some of
their steps, the model's answers as episodes of one step each, and the labels that say which answers
were right. Labels come from the papers' rule, from an oracle that knows the environment's true
state, or from a language model (`llm_labels`). What the judge advises becomes suggestions for the
prompts of training (`themes`, `suggestions`).

May import: records, errors, streams, files, config, envs, models, credit, agent, learner, rollout,
endpoint. To add an auxiliary task, derive a class from `tasks.AuxiliaryTask` in a file of its own
and name it in the registry. To add a source of labels, write a function from episodes to `Labels`
beside those in `labels`, and let `round` ask it.
"""
