"""Meter the memory of a model's tensors while it computes: bytes that are there, and the most."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakIdKeyDictionary


class MemoryMeter(TorchDispatchMode):
    """A meter of memory: inside `with`, it counts the tensors that a model's operations make.

    It sees sizes alone, so that it also works on tensors without memory (`outline`). What a kernel
    takes for itself while it runs is not seen.

    Attributes:
        now: bytes of the tensors that are there.
        peak: the most there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: Any = WeakIdKeyDictionary()

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were there before; memory that several share counts once."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage not in self._known:
                size = storage.nbytes()
                self._known[storage] = size
                weakref.finalize(storage, self._let_go, size).atexit = False
                self.now += size
        self.peak = max(self.peak, self.now)

    def restart(self) -> None:
        """Forget the peak of what was before."""
        self.peak = self.now

    def _let_go(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        self.add(each for each in tree_flatten(made)[0] if isinstance(each, Tensor))
        return made
