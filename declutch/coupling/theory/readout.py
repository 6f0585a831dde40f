"""A linear read-out under softmax: the gradients behind both papers' formulas, computed.

Token k of a sample is predicted from the hidden state h_k by the logits W^T h_k. The gradient of
its log-likelihood with respect to W is the outer product of h_k and `e_y - softmax`, so that the
inner product of two samples' gradients is the papers' sum of alpha times <h, h'> over token pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from declutch.coupling.theory.advantage import Floats
from declutch.coupling.theory.three_actions import softmax


@dataclass(frozen=True)
class Sentence:
    """A sample for the read-out: hidden states f64[K, D] and the tokens i64[K] they predict."""

    hidden: Floats
    tokens: NDArray[np.int64]


def prediction_errors(readout: Floats, sample: Sentence) -> Floats:
    """`e_y - softmax` of each token that the read-out f64[D, V] predicts: f64[K, V]."""
    wanted = np.eye(readout.shape[1])[sample.tokens]
    return np.asarray(wanted - softmax(sample.hidden @ readout))


def readout_gradient(readout: Floats, sample: Sentence) -> Floats:
    """Gradient of a sample's log-likelihood with respect to the read-out: f64[D, V]."""
    return sample.hidden.T @ prediction_errors(readout, sample)


def token_coupling(readout: Floats, first: Sentence, second: Sentence) -> float:
    """Theory of the read-out: two samples' coupling as a sum over token pairs, alpha <h, h'>."""
    alpha = prediction_errors(readout, first) @ prediction_errors(readout, second).T
    return float((alpha * (first.hidden @ second.hidden.T)).sum())


def deep_gradient(body: Floats, readout: Floats, inputs: Floats, sample: Sentence) -> Floats:
    """Gradient of all parameters where hidden states are `inputs @ body`, read-out's part last."""
    errors = prediction_errors(readout, sample)
    return np.concatenate(
        [(inputs.T @ (errors @ readout.T)).ravel(), (sample.hidden.T @ errors).ravel()]
    )


def logit_step(
    readout: Floats, feature: Floats, action: NDArray[np.int64], advantage: Floats, rate: float
) -> Floats:
    """Change of the read-out's logits of one state by a policy-gradient step on a group: f64[V].

    Args:
        readout: f64[D, V]. feature: f64[D], the state's. action: i64[G]. advantage: f64[G].
        rate: learning rate, on the sum over the group's episodes.
    """
    group = Sentence(np.broadcast_to(feature, (len(action), len(feature))), action)
    gradient = group.hidden.T @ (advantage[:, None] * prediction_errors(readout, group))
    return np.asarray(feature @ (rate * gradient))
