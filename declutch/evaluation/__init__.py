"""Evaluation: who plays every game of a level, what came of it, and how sure that is.

Takes a player (a model, a suite's expert, random choice), a suite and the section `eval` of the
settings; gives an `EvalResult`, one line per play, which is written to a JSON file and read back,
and summaries of it: success with 95% intervals, behaviour, paired differences of two policies.
`players` and `evaluate` play, `results` is the record and its file, `behaviour` counts what the
actions were, `intervals` and `summary` do the statistics, `exam` and `exam_results` have steps
judged, `expert` measures a suite's expert, and `label_sources` compares sources of labels.

May import `judge`, `cold_start`, `endpoint`, `rollout` and the rooms before them. It draws no
tables: these are `report.tables`. Another measure is a file with a record of plain numbers and a
function that makes it of an `EvalResult` or of episodes.
"""
