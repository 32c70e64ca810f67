"""Tensors of PyTorch as NumPy arrays; NumPy itself reads lists, and the arrays and columns of other libraries."""

from __future__ import annotations

import sys
from typing import Any


def from_torch(value: Any) -> Any:
    """A PyTorch tensor as a NumPy array, and a list of tensors as a list of arrays; anything else as it is.

    A tensor on a device is copied from it, one that requires gradients is detached, and bfloat16, which NumPy lacks,
    becomes float32, which holds its numbers exactly. Raises what PyTorch raises for a tensor without a dense form.
    """
    kind = getattr(sys.modules.get("torch"), "Tensor", None)  # whoever has a tensor has imported torch
    if kind is None:
        return value
    if isinstance(value, kind):
        widened = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return widened.numpy(force=True)
    if isinstance(value, (list, tuple)) and any(isinstance(item, kind) for item in value):
        return [from_torch(item) for item in value]
    return value
