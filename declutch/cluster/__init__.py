"""The cluster: several GPUs and nodes sample, compute gradients and keep the weights, by verl.

Takes tasks to play, and rows to learn from: one a step, of the agent or of a judgment, each with
its advantages. Gives episodes, log-probabilities, statistics of an optimizer step, and checkpoints
as Hugging Face folders. What is played, judged, credited, evaluated and written down stays where it
is for one GPU; `train/on_cluster.py` puts this room in the place of the learner.

`settings.py` says our settings in verl's words and refuses what it cannot honour. `loss.py` is the
loss that verl's workers compute, plain PyTorch. `batch.py` hands them the rows. `play.py` has
environments played by processes on all nodes and asks verl's servers for responses. `verl.py` has
Ray start verl's workers and speaks to them. Ray and verl are imported in functions, as few have
them.

May import: `ground`, `records`, `config`, `envs`, `models`, `credit`, `agent`, `rollout`; neither
`train` nor `learner`, which the machines of a cluster do without.

To honour another setting, map it in `settings.py` and take its refusal away there; both are held by
tests/cluster/test_settings.py.
"""
