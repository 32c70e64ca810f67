"""The runtimes for which graphs are optimised and written, and the opsets and IR versions that they support.

A runtime has no kernels for versions of operators that are newer than it, so that the fewest runtimes load the newest
opset: a model gets the lowest opset that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from grammar.record import Record

LOWEST_OPSET = 17
HIGHEST_OPSET = 24  # from 25 onnxruntime decomposes Attention, and at 28 it lacks kernels
IR_VERSION = 10
LARGEST_FILE = (2 << 30) - (64 << 20)  # bytes of weights in one file: protobuf is limited to 2 GiB, including the nodes


class Target(Record):
    """What a graph is optimised for: it decides which of several equivalent forms a computation gets.

    `name` is that of `--target`, and of its rows in the table of costs.
    """

    name: str
    title: str
    highest_opset: int = HIGHEST_OPSET
    omits_initial_states: bool = True  # runs recurrences whose initial states are left out, which are then 0


NUMPY = Target("numpy", "the NumPy runtime")
ORT_CPU = Target("ort-cpu", "onnxruntime on a CPU")


@dataclass(frozen=True)
class Release:
    """A release of a runtime, and the newest versions that it loads."""

    name: str
    opset: int
    ir_version: int


RELEASES = (
    Release("onnxruntime 1.32", 28, 14),
    Release("onnxruntime-gpu 1.31", 26, 13),
    Release("onnxruntime 1.23 (the last for Intel Macs)", 23, 11),
)


def loaded_by(opset: int) -> tuple[str, ...]:
    """The names of the releases that load a model of this opset."""
    return tuple(release.name for release in RELEASES if release.opset >= opset and release.ir_version >= IR_VERSION)
