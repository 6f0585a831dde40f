"""The cluster: the gradient of the same update from many GPUs, by verl's workers.

Takes rows to learn from: one a step, of the agent or of a judgment, each with its advantages. Gives
the loss of a rank's part of them, such that all ranks together have the gradient of
`learner.update`, for whatever number of ranks and passes.

`loss.py` gives every token its weight, deals rows to ranks, and is the loss that verl's workers
call; plain PyTorch. `batch.py` hands them the rows. There is no command that starts verl's workers
yet. verl is imported inside functions, as few have it.

May import: `ground`, `records`, `config`, `envs`, `models`, `credit`, `agent`, `rollout`; neither
`train` nor `learner`, which the machines of a cluster do without.

To let the loss know something more of a token, add a field to `Row` and `LossFields`, write it in
`batch.py`, and hold its gradient to the learner's in tests/cluster/test_loss.py.
"""
