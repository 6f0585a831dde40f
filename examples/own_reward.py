"""An example of a reward of your own: it pays for progress, and takes a little for every step.

declutch train runs/own ... train.reward=examples.own_reward:reward
"""

from declutch import Observation, TaskId, Transition

STEP_COST = 0.01


def reward(task: TaskId, before: Observation, action: str, transition: Transition) -> float:
    """The reward of one action: the score that it leads to when won, less what a step costs."""
    return transition.score * float(transition.is_done) - STEP_COST
