"""A model's read-out: the logits of hidden states, of few tokens at a time where there are many.

With a vocabulary of 150,000 the logits of 1,600 tokens take a gibibyte in single precision, and a
loss and its gradient take several copies of them. A forward pass inside `reading_later` stops
before its read-out; `ReadOut` then computes the logits of any part of the tokens by the model's own
code, so that whatever an architecture does to its logits (scaling, capping, a bias) stays there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from declutch.models.precision import computing

MIB = 1 << 20
DEFAULT_LOGITS_MIB = 256
_LIMIT = "declutch_logits_mib"
"""Attribute of a model that says how large its logits may be at once; copies of it keep it."""

Read = Callable[[Tensor, slice], tuple[Tensor, ...]]


def set_logits_limit(model: Any, mib: float) -> None:
    """Set how many MiB of a model's logits, in float32, are read out at once."""
    setattr(model, _LIMIT, mib)


def tokens_at_once(model: Any, vocabulary: int) -> int:
    """How many tokens a model's read-out takes at once, by `set_logits_limit`."""
    size = int(getattr(model, _LIMIT, DEFAULT_LOGITS_MIB) * MIB)
    return max(1, size // (torch.float32.itemsize * vocabulary))


class ReadOut:
    """The read-out of one forward pass, to be computed later: hidden states in, logits out.

    Attributes:
        hidden: what the pass would have read out, [N, D]; None where it did read out, since the
            architecture has no read-out that could be left for later.
    """

    def __init__(self, model: Any) -> None:
        self.hidden: Tensor | None = None
        self._model = model
        self._outputs: Any = None

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits [n, V] of hidden states [n, D], scaled and capped as the architecture does it."""
        head, base = self._model.get_output_embeddings(), self._model.base_model
        token = torch.zeros(1, 1, dtype=torch.long, device=hidden.device)
        handle = head.register_forward_pre_hook(lambda _, args: (hidden[None], *args[1:]))
        try:
            with _answering(base, self._outputs), computing(self._model):
                logits: Tensor = self._model(input_ids=token, use_cache=False).logits
        finally:
            handle.remove()
        return logits[0]

    def map_parts(self, size: int, read: Read) -> tuple[Tensor, ...]:
        """Read something of each token's logits, which are there for `size` tokens at a time.

        For the gradient the logits of a part are computed again, so that they never are all there.

        Args:
            read: of logits [n, V] and which tokens they belong to, tensors of one dimension.
        Returns:
            What `read` gave, that of all parts joined.
        """
        assert self.hidden is not None
        hidden, found = self.hidden, []
        for start in range(0, len(hidden), size):
            part = slice(start, min(start + size, len(hidden)))

            def run(states: Tensor, part: slice = part) -> tuple[Tensor, ...]:
                return read(self(states), part)

            if torch.is_grad_enabled():
                # Nothing is drawn at random in a read-out.
                values = checkpoint(
                    run, hidden[part], use_reentrant=False, preserve_rng_state=False
                )
            else:
                values = run(hidden[part])
            found.append(values)
        return tuple(torch.cat(each) for each in zip(*found, strict=True))


@contextmanager
def reading_later(model: Any, place: tuple[Tensor, Tensor]) -> Iterator[ReadOut]:
    """Inside the block a forward pass of a model leaves its read-out for later.

    Args:
        place: rows and columns i64[N] of the tokens that are to be read out.
    """
    later = ReadOut(model)

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if args[0].dim() != 3:
            return None
        later.hidden = args[0][place]
        return (args[0].new_zeros(1, 0, args[0].shape[-1]), *args[1:])

    def watch(module: nn.Module, args: tuple[Any, ...], outputs: Any) -> None:
        later._outputs = _without_states(outputs)

    head = model.get_output_embeddings()
    handles = [] if head is None else [head.register_forward_pre_hook(keep)]
    if model.base_model is not model:
        handles.append(model.base_model.register_forward_hook(watch))
    try:
        yield later
    finally:
        for handle in handles:
            handle.remove()


def _without_states(outputs: Any) -> Any:
    """What a backbone gave, with the states of a single token in the place of its last ones."""
    states = outputs[0]
    single = states.new_zeros(1, 1, states.shape[-1])
    if isinstance(outputs, tuple):
        return (single, *outputs[1:])
    short = copy.copy(outputs)
    short["last_hidden_state"] = single
    return short


@contextmanager
def _answering(base: Any, outputs: Any) -> Iterator[None]:
    """Inside the block a backbone computes nothing and gives what it gave before.

    Without it the numbers would be the same, as the read-out is handed its states in any case.
    """
    if outputs is None:
        yield
        return
    own = base.__dict__.get("forward")
    base.forward = lambda *args, **kwargs: outputs
    try:
        yield
    finally:
        if own is None:
            del base.forward
        else:
            base.forward = own
