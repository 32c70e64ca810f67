"""What the runtimes load: opsets and IR versions, which a compiled model must not exceed.

A kernel whose version is open-ended matches only where it starts at the operator's own since-version, so that the
newest opset is the one that loads least: a model is stamped with the lowest opset that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass

LOWEST_OPSET = 17
HIGHEST_OPSET = 24  # from 25 on onnxruntime takes Attention apart, and at 28 it lacks kernels of its own
IR_VERSION = 10
LARGEST_FILE = (2 << 30) - (64 << 20)  # bytes of weights in one file: protobuf stops at 2 GiB, and nodes need room too


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


def loaded_by(opset: int) -> tuple[str, ...]:
    """The names of the runtimes that load a model of this opset."""
    return tuple(target.name for target in TARGETS if target.opset >= opset and target.ir_version >= IR_VERSION)
