"""A good and a flawed action in similar states whose updates leak into each other, step by step.

Sample 1 has the probability q1 and the risk r1 = -xi r2 (it helps), sample 2 has q2 and r2 > 0.
Each logit stands against others whose exponentials sum to C. An update of one sample adds the share
delta of its advantage to the other. RM's Theorem A.1 bounds how far the good action's logit has to
rise before the flawed action's probability falls.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from declutch.coupling.theory.advantage import Floats


@dataclass(frozen=True)
class Pair:
    """A coupled pair of samples, or many where fields are arrays: probabilities, risks, coupling.

    Attributes:
        q1, q2: probabilities of the good and of the flawed action.
        r2: risk of the flawed action, > 0. xi: the good action's risk is -xi r2.
        delta: share of a sample's advantage that reaches the other.
        num_good: good samples like the first one that push the flawed action, all alike.
    """

    q1: Floats
    q2: Floats
    r2: Floats
    xi: Floats
    delta: Floats
    num_good: Floats

    @property
    def strength(self) -> Floats:
        """xi delta of the coupled pair, times the number of good samples."""
        return self.xi * self.delta * self.num_good

    @property
    def own(self) -> tuple[Floats, Floats]:
        """A1 and A2 of the coupled pair by Lemma 3.1: A1 > 0 > A2."""
        good = self.xi * self.r2 * self.q1 * (1 - self.q1)
        return good, -self.r2 * self.q2 * (1 - self.q2)

    @property
    def pulls(self) -> tuple[Floats, Floats]:
        """A1 + delta A2, and A2 + delta A1 for each good sample: what moves the pair's logits."""
        first, second = self.own
        return first + self.delta * second, second + self.delta * self.num_good * first

    @property
    def logits(self) -> tuple[Floats, Floats]:
        """Log-odds of the coupled pair, which are the logits for others that sum to C = 1."""
        return np.asarray(logit(self.q1)), np.asarray(logit(self.q2))

    def select(self, where: ArrayLike) -> Pair:
        """The coupled pairs of an array of pairs at an index or where a mask is set."""
        index = np.asarray(where)
        return Pair(*(np.asarray(getattr(self, each.name))[index] for each in fields(self)))

    def as_numbers(self) -> dict[str, float]:
        """One coupled pair's fields by name, for a counterexample."""
        return {each.name: float(getattr(self, each.name)) for each in fields(self)}


def make_pair(q1: ArrayLike, q2: ArrayLike, r2: ArrayLike, xi: ArrayLike, delta: ArrayLike) -> Pair:
    """Coupled pairs of one good sample each, from numbers or arrays that broadcast together.

    Raises:
        ValueError: a probability of 0 or 1.
    """
    columns = np.broadcast_arrays(*(np.asarray(e, float) for e in (q1, q2, r2, xi, delta)))
    for name, column in zip(("q1", "q2"), columns[:2], strict=True):
        if not ((column > 0) & (column < 1)).all():
            raise ValueError(f"{name} has to be between 0 and 1, both excluded")
    q1_, q2_, r2_, xi_, delta_ = (np.array(column) for column in columns)
    return Pair(q1_, q2_, r2_, xi_, delta_, num_good=np.ones(q1_.shape))


@dataclass(frozen=True)
class PairPath:
    """N coupled pairs followed by exact steps.

    Attributes:
        q1, q2: f64[T + 1, N] probabilities, the start first.
        turn: i64[N], the first index at which the flawed action's pull is not positive, -1 if none.
    """

    q1: Floats
    q2: Floats
    turn: NDArray[np.int64]


def follow_pairs(
    pairs: Pair, step_size: float, num_steps: int, *, max_move: float | None = None
) -> PairPath:
    """Follow coupled pairs, arrays [N]: each logit moves by `step_size` times its pull.

    Args:
        max_move: steps are as long as it takes for the faster of a pair's two logits to move by
            this much, whatever `step_size` says: the same path in less time where pulls are weak.
    """
    first, second = pairs.logits
    current = pairs
    turn = np.full(first.shape, -1)
    q1, q2 = [pairs.q1], [pairs.q2]
    for index in range(num_steps + 1):
        pulls = current.pulls
        turn = np.where((turn < 0) & (pulls[1] <= 0), index, turn)
        if index == num_steps:
            break
        size: Floats | float = step_size
        if max_move is not None:
            size = max_move / np.maximum(np.abs(pulls[0]), np.abs(pulls[1]))
        # Beyond this a probability would be 0 or 1 in float64, from where no step leads back.
        first = np.clip(first + size * pulls[0], -30, 30)
        second = np.clip(second + size * pulls[1], -30, 30)
        current = replace(pairs, q1=np.asarray(expit(first)), q2=np.asarray(expit(second)))
        q1.append(current.q1)
        q2.append(current.q2)
    return PairPath(np.stack(q1), np.stack(q2), turn)


def threshold(q2: ArrayLike, strength: ArrayLike) -> Floats:
    """The coupled pair's good probability above 1/2 at which the flawed action stops rising.

    Args:
        q2: probability of the flawed action.
        strength: xi delta, times the number of good samples.
    Returns:
        The larger root q1 of `q1 (1 - q1) strength = q2 (1 - q2)`; 0.5 where there is none, as the
        flawed action then falls whatever q1 is.
    """
    second = np.asarray(q2, float)
    inside = 1 - 4 * second * (1 - second) / np.asarray(strength, float)
    return np.asarray((1 + np.sqrt(np.maximum(inside, 0))) / 2)


def odds_ratio(q1: ArrayLike, q2: ArrayLike) -> Floats:
    """`q2 (1 - q2) / (q1 (1 - q1))`, which is xi delta where a coupled pair's pull changes sign."""
    first, second = np.asarray(q1, float), np.asarray(q2, float)
    return np.asarray(second * (1 - second) / (first * (1 - first)))


def paper_bound(strength: ArrayLike) -> Floats:
    """RM's printed lower bound of z1 - z2 for its coupled pair: 1/2 ln(xi delta), q2 falling."""
    return np.asarray(0.5 * np.log(np.asarray(strength, float)))


def sharp_bound(strength: ArrayLike) -> Floats:
    """A coupled pair's sharper lower bound of z1 - z2: ln(xi delta), where q1 >= q2.

    With h = exp(z), `ratio = (h2 / h1) ((h1 + C) / (h2 + C))^2`, and the second factor is at most
    (h1 / h2)^2 for h1 >= h2. The paper replaces the first factor by 1; kept, it leaves h1 / h2.
    """
    return np.asarray(np.log(np.asarray(strength, float)))
