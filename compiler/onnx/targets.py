"""What the runtimes load: opsets and IR versions, and the dtypes that a kernel lacks.

A kernel whose version is open-ended matches only where it starts at the operator's own since-version, so that the
newest opset is the one that loads least: a model is stamped with the lowest opset that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.types import DType

LOWEST_OPSET = 17
HIGHEST_OPSET = 24  # from 25 on onnxruntime takes Attention apart, and at 28 it lacks kernels of its own
IR_VERSION = 10


@dataclass(frozen=True)
class Target:
    """A runtime and the newest that it loads."""

    name: str
    opset: int
    ir_version: int


TARGETS = (
    Target("onnxruntime 1.32", 28, 14),
    Target("onnxruntime-gpu 1.31", 26, 13),
    Target("onnxruntime 1.23, the last for Intel Macs", 23, 11),
)

_F64, _HALF = frozenset({DType.F64}), frozenset({DType.F16, DType.BF16})

# ONNX operators that our own are lowered to, and the float dtypes that onnxruntime's CPU provider has no kernel for
# (bf16 apart, of which it has next to none). Such a model passes the checker and runs by NumPy.
CPU_LACKS: dict[str, frozenset[DType]] = {
    "AveragePool": _F64,
    "Conv": _F64,
    "ConvTranspose": _F64,
    "Erf": _F64,
    "GRU": _F64 | _HALF,
    "LSTM": _F64 | _HALF,
    "RNN": _F64 | _HALF,
}


def loaded_by(opset: int) -> tuple[str, ...]:
    """The names of the runtimes that load a model of this opset."""
    return tuple(target.name for target in TARGETS if target.opset >= opset and target.ir_version >= IR_VERSION)
