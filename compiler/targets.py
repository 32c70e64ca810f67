"""The runtimes for which graphs are optimised and written, and the opsets and IR versions that they support.

A runtime has no kernels for versions of operators that are newer than it, so that the fewest runtimes load the newest
opset: a model gets the lowest opset that it needs.
"""

from __future__ import annotations

from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.record import Record, ValueRecord

LOWEST_OPSET = 17
HIGHEST_OPSET = 24  # from 25 onnxruntime decomposes Attention, and at 28 it lacks kernels
IR_VERSION = 10
LARGEST_FILE = (2 << 30) - (64 << 20)  # bytes of weights in one file: protobuf is limited to 2 GiB, including the nodes


class Target(Record):
    """What a graph is optimised and written for: it decides which of several equivalent forms a computation gets.

    The fields besides name and opsets are facts about what the runtime has, or computes right. A lowering or a rule
    asks for the fact that it depends on, never for the target's name.
    """

    name: str  # that of `--target`, and of its rows in the table of costs
    title: str
    highest_opset: int = HIGHEST_OPSET
    device: str | None = None  # the processor that nodes without a kernel leave; None if there is only one
    kernels: str | None = None  # the table of its kernels; None if it runs every operator that is written for it
    has_views: bool = False  # a view takes no memory, and the axes of a stored tensor may lie in any order
    scales_channels: bool = True  # has a kernel that scales and shifts channels at once
    has_range: bool = True  # has Range
    has_scatter_add: bool = True  # scatters by addition
    has_pool_indices: bool = True  # MaxPool also returns the indices of the largest items
    has_bit_operators: bool = True  # has BitShift and BitwiseXor; otherwise draws look bytes up in a table
    draws_in: DType | None = None  # the type in which draws are hashed by exact matrix products; None for whole numbers
    has_whole_i64: bool = True  # computes with integers beyond 32 bits; otherwise they are clamped or cut
    has_lone_reverse: bool = True  # runs a recurrence that is reverse only
    has_reset_before: bool = True  # has GRU with the reset gate before the product (`linear_before_reset=0`)
    captures_values: bool = True  # nested graphs read any value of the outer one, not weights and constants alone
    reads_defaults: bool = True  # takes absent attributes and absent initial states as the specification has it
    has_integer_abs: bool = True  # has Abs of integers
    casts_to_truth: bool = True  # a cast to bool compares with 0; otherwise it may drop the fraction first
    divides_by_sizes: bool = True  # divides by numbers that follow from sizes; otherwise some use those of one element
    reverses_by_slices: bool = True  # has Slice with steps of -1 over axes of unknown size
    shares_kernels: bool = True  # reads one kernel as that of a convolution and of a transposed one
    turns_matrices: bool = True  # multiplies by a stored square matrix and by its transpose in one graph
    reduces_to_scalars: bool = True  # reads what a reduction of all axes without keeping them returns
    has_is_nan: bool = True  # has IsNaN
    compares_truths: bool = True  # has Equal of bools
    reads_output_views: bool = True  # keeps an output that is a view of another value, and that nodes read
    multiplies_gates: bool = True  # runs a GELU written out whose gate is multiplied by anything, as in a gradient
    reduces_apart: bool = True  # reduces axes that do not lie beside each other at once
    repeats_steps: bool = True  # runs recurrences; otherwise short ones are written step by step
    stacks_any_sizes: bool = True  # a Scan stacks items of unknown sizes, or of unknown number
    multiplies_integers: bool = False  # runs products of 8 and 4 bits, onnxruntime's own operators among them
    differentiates_scans: bool = True  # runs the backward recurrences of a gradient

    @property
    def largest_index(self) -> int:
        """The largest index that it reads as it is; one this large stands for the end of an axis of any length."""
        return 2**63 - 1 if self.has_whole_i64 else 2**31 - 1

    def has_kernel(self, onnx_type: str, dtype: str, opset: int) -> bool:
        """Whether the device has a kernel for an ONNX operator at an opset, on a main operand of this element type.

        Element types are nablac's, and `u16`, `u32` and `u64`. Always true where no table says what the runtime has.
        """
        if self.kernels is None:
            return True
        from compiler.kernels.tables import has_kernel

        return has_kernel(self.kernels, onnx_type, dtype, opset)


NUMPY = Target("numpy", "the NumPy runtime", has_views=True, scales_channels=False)
ORT_CPU = Target("ort-cpu", "onnxruntime on a CPU", kernels="ort-cpu", multiplies_integers=True)
ORT_CUDA = Target(
    "ort-cuda",
    "onnxruntime on an NVIDIA GPU",
    device="CUDA",
    kernels="ort-cuda",
    has_bit_operators=False,
    has_reset_before=False,
)
ORT_WEB = Target("ort-web", "onnxruntime in a browser, on WebGPU", device="WebGPU", kernels="ort-web")
TENSORRT = Target(
    "tensorrt",
    "TensorRT, by itself or in onnxruntime",
    device="TensorRT",
    kernels="tensorrt",
    has_scatter_add=False,
    has_pool_indices=False,
)
PORTABLE = Target(
    "portable",
    "clients that read ONNX",
    highest_opset=17,
    has_range=False,
    has_scatter_add=False,
    has_pool_indices=False,
    draws_in=DType.F32,
    has_whole_i64=False,
    has_lone_reverse=False,
    has_reset_before=False,
    captures_values=False,
    reads_defaults=False,
    has_integer_abs=False,
    casts_to_truth=False,
    divides_by_sizes=False,
    reverses_by_slices=False,
    shares_kernels=False,
    turns_matrices=False,
    reduces_to_scalars=False,
    has_is_nan=False,
    compares_truths=False,
    reads_output_views=False,
    multiplies_gates=False,
    reduces_apart=False,
    repeats_steps=False,
    stacks_any_sizes=False,
    differentiates_scans=False,
)
EXPORT_TARGETS = {target.name: target for target in (ORT_CPU, ORT_CUDA, ORT_WEB, TENSORRT, PORTABLE)}


def target_named(name: str | Target) -> Target:
    """The target of this name, that `--target` takes; a target stands for itself. NablacError for an unknown name."""
    if isinstance(name, Target):
        return name
    if name not in EXPORT_TARGETS:
        hint = did_you_mean(str(name), EXPORT_TARGETS) or f"the targets are {', '.join(EXPORT_TARGETS)}"
        raise NablacError(Diagnostic(codes.E910, f"there is no target `{name}`", place="target", hint=hint))
    return EXPORT_TARGETS[name]


class Release(ValueRecord):
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
