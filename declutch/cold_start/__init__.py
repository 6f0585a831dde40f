"""The cold start: everything that happens to a model before reinforcement learning.

Takes a suite with an expert and a model folder; gives demonstrations as a file, a fresh tiny model
where one is wanted, and a model that was trained on the demonstrations and on steps to judge, to
predict or to classify. `pipeline` has the stages that commands run; it alone sees the whole
settings, and every other module takes a section or a record. `facts` says what a model's cold start
was, the protocol of its demonstrations above all.

May import: records, errors, streams, files, config, envs, models, credit, agent, learner, rollout,
endpoint. To teach another kind of answer, write a file beside `judge_examples` that makes
`Example`s of demonstrations, give `SFTConfig` a number of them, and add it to `pipeline.run_sft`
and to the counts in `facts.ColdStart`.
"""
