"""What a piece of code takes new memory for."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Allocated(TorchDispatchMode):
    """Notes every new piece of memory that an operation returns a tensor in.

    Attributes:
        sizes: bytes of each, in the order of time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, torch.UntypedStorage] = {}
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._hold((args, kwargs))
        result = func(*args, **(kwargs or {}))
        self.sizes += self._hold(result)
        return result

    def _hold(self, value: Any) -> list[int]:
        """Keep the memory of all tensors, so that no new one gets its address; return new sizes."""
        tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
        storages = [tensor.untyped_storage() for tensor in tensors]
        places = {storage._cdata: storage for storage in storages}  # has no data_ptr on "meta"
        new = {at: place for at, place in places.items() if at not in self._held}
        self._held |= new
        return [place.nbytes() for place in new.values()]
