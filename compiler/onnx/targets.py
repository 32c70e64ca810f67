"""The opsets and IR versions that runtimes support, which a compiled model must not exceed.

A runtime has no kernels for versions of operators that are newer than it, so that the fewest runtimes load the newest
opset: a model gets the lowest opset that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass

LOWEST_OPSET = 17
HIGHEST_OPSET = 24  # from 25 onnxruntime decomposes Attention, and at 28 it lacks kernels
IR_VERSION = 10
LARGEST_FILE = (2 << 30) - (64 << 20)  # bytes of weights in one file: protobuf is limited to 2 GiB, including the nodes


@dataclass(frozen=True)
class Target:
    """A runtime, and the newest versions that it loads."""

    name: str
    opset: int
    ir_version: int


TARGETS = (
    Target("onnxruntime 1.32", 28, 14),
    Target("onnxruntime-gpu 1.31", 26, 13),
    Target("onnxruntime 1.23 (the last for Intel Macs)", 23, 11),
)


def loaded_by(opset: int) -> tuple[str, ...]:
    """The names of the runtimes that load a model of this opset."""
    return tuple(target.name for target in TARGETS if target.opset >= opset and target.ir_version >= IR_VERSION)
