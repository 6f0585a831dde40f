"""Runs: what a training run writes down about itself, and how it is read back.

Takes settings, metrics, evaluations and an iteration's episodes, and writes them into the folder of
the run; gives a run folder back as data, whatever state it is in. `folder` is the only module that
knows where something lies in a run folder. `catalogue` is the only list of metrics: their keys,
what they mean, and where the live view, the report and the reference page show them.

May import every room before it, from `envs` to `evaluation`. It knows nothing of `train`, which
writes runs, nor of `report` and `compare`, which look at them.

To record something new in every iteration, add a `Metric` to `catalogue` and compute it in
`train/metrics.py`. To keep a new kind of file, give `RunFolder` its path and write it from there; a
file of its own in this room is for what is written or read in more than a few lines.
"""
