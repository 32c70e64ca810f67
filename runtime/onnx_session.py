"""Running an ONNX model with onnxruntime: on the requested device or not at all, inputs and outputs by name."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import Dim, Size
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import ONNX
from runtime.backends import PROVIDERS, Device, check_backend, device_named
from runtime.boundary import BEGINNING, open_regular, refuse_other_kinds, require_room, translate_errors
from runtime.observing import watcher
from runtime.onnx_placement import record_placement, require_placement
from runtime.signature import Signature
from runtime.stopped import StoppedByData
from runtime.thread_limits import asked_threads, is_busy

if TYPE_CHECKING:
    import onnx
    from onnxruntime import InferenceSession, IOBinding, OrtValue, RunOptions, SessionOptions

    from compiler.types import Array

_QUIET = 4  # onnxruntime's fatal severity: errors are raised anyway, and warnings are meant for exporters
_KEPT = 256 << 20  # the largest model, in bytes, that is kept in memory to look up source lines when it fails
# On a CPU the kernel for a sum and a layer normalisation takes three to five times as long as the two apart.
_SLOW_FUSIONS = {"cpu": ("SkipLayerNormFusion",)}
_TYPES = {
    "tensor(float16)": DType.F16,
    "tensor(bfloat16)": DType.BF16,
    "tensor(float)": DType.F32,
    "tensor(double)": DType.F64,
    "tensor(int8)": DType.I8,
    "tensor(uint8)": DType.U8,
    "tensor(int32)": DType.I32,
    "tensor(int64)": DType.I64,
    "tensor(bool)": DType.BOOL,
}
_NODE = re.compile(r"""(?:Name:|node with name |Node \(|Node:|[Nn]ode name: ?)['"]?([^'")]+)""")
_STATUS = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_IMPLEMENTATION = re.compile(r"implementation for (\w+)")
_NO_SUCH_DEVICE = re.compile(r"invalid device|device_id|CUDA failure 10[01]", re.IGNORECASE)
_REPLACED = "replace it with onnxruntime-gpu: `pip uninstall onnxruntime`, then `pip install onnxruntime-gpu`"
_COUNTED = "`nvidia-smi` lists the devices; `cuda:0` is the first of them"
_NOWHERE = re.compile(r"(?:^|\s)/\S+\.(?:cc|h|cpp):\d+ ")


class KernelMissing(NablacError):
    """onnxruntime has no kernel for an operator in some dtype; `operator` is its name, if the error says it."""

    def __init__(self, diagnostic: Diagnostic, operator: str | None) -> None:
        super().__init__(diagnostic)
        self.operator = operator


def _check_file(path: str | Path) -> None:
    """NablacError if there is no file, if it is not an ONNX model, or if it is larger than the memory."""
    if not os.path.exists(path):
        raise NablacError(Diagnostic(codes.E901, f"there is no file {path}", place=str(path)))
    with open_regular(Path(path)) as file:
        refuse_other_kinds(file.read(BEGINNING), "an ONNX model", str(path), codes.E909, but=(ONNX,))
        require_room(os.fstat(file.fileno()).st_size, str(path))


class OnnxRunner:
    """One loaded model; `model` is a path or the bytes of an ONNX file.

    `threads` are those of one operator (where None, what the environment asks for, or onnxruntime's choice); `optimize`
    set to False runs the graph as it is written, as an oracle does. Its threads wait for work at full speed, for a
    while: where `spins` is False only until a run ends, and on a busy machine not at all. Where `plans_memory` is
    False, memory is taken as it is needed, and not as one block planned from the first run. `severity` 2 lets
    onnxruntime's warnings through to stderr.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        *,
        device: str = "cpu",
        threads: int | None = None,
        optimize: bool = True,
        spins: bool = True,
        plans_memory: bool = True,
        severity: int = _QUIET,
    ) -> None:
        import onnxruntime as ort

        check_backend("ort", device)
        self.device = device_named(device)
        self._model = model if not isinstance(model, bytes) or len(model) <= _KEPT else None
        self.name = "the model" if isinstance(model, bytes) else str(model)
        if not isinstance(model, bytes):
            _check_file(model)
        options = ort.SessionOptions()
        options.log_severity_level = severity
        if threads is None:
            threads = asked_threads()
        if threads is not None:
            options.intra_op_num_threads = threads
        options.enable_mem_pattern = plans_memory
        if is_busy():
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not spins:
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = self._session(model, options)
        self._read_signature(model)

    def _session(self, model: str | Path | bytes, options: SessionOptions) -> InferenceSession:
        """A session on the runner's device; NablacError if onnxruntime cannot load the model, or not there."""
        import onnxruntime as ort

        providers, watching = _providers(self.device), watcher()
        on_cpu = self.device.kind == "cpu"
        if not on_cpu:
            record_placement(options)
        if watching is not None:
            watching.before_session(options)
        try:
            source = model if isinstance(model, bytes) else str(model)
            harmful = harmful_fusions(self.device.kind)
            if not on_cpu and has_statistics(_read(model)):
                harmful = (*harmful, "SkipLayerNormFusion")
            session = ort.InferenceSession(
                source, options, providers=providers, disabled_optimizers=harmful, enable_fallback=0
            )
        except Exception as error:  # onnxruntime's exceptions have no other common base
            if not on_cpu and _NO_SUCH_DEVICE.search(str(error)):
                raise _no_device(self.device, "onnxruntime sees fewer of them", _COUNTED) from error
            raise self._refusal(codes.E909, "onnxruntime cannot load this model", error) from error
        if watching is not None:
            watching.after_session(session, model)
        if self.device.provider not in session.get_providers():
            why = "onnxruntime could not start it; are its libraries (CUDA, cuDNN) installed?"
            raise _no_device(self.device, why, _REPLACED)
        if not on_cpu:
            require_placement(session, _read(model), self.device.provider, str(self.device))
        session.disable_fallback()
        return session

    def _read_signature(self, model: str | Path | bytes) -> None:
        """Read the names and types of the inputs and outputs."""
        with translate_errors(self.name, "an ONNX file", codes.E909):  # its names may be invalid UTF-8
            self.inputs = {slot.name: slot for slot in self.session.get_inputs()}
            self.outputs = [slot.name for slot in self.session.get_outputs()]
            open_rank = self._without_shape(model)
        types = {name: _type(slot) for name, slot in self.inputs.items() if name not in open_rank}
        known = {name: type for name, type in types.items() if type is not None}
        self.signature = Signature(self.name, known, list(self.inputs))
        # Inputs of types that the language does not have, with NumPy's dtype if there is one: fed unchecked.
        self.foreign = {name: _dtype(slot) for name, slot in self.inputs.items() if name not in known}
        self._bf16 = any("bfloat16" in slot.type for slot in (*self.inputs.values(), *self.session.get_outputs()))

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata in the model's file."""
        with translate_errors(self.name, "an ONNX file with metadata", codes.E909):
            return dict(self.session.get_modelmeta().custom_metadata_map)

    @property
    def output_types(self) -> dict[str, TensorType]:
        """The types of the outputs that the language has a type for."""
        types = {slot.name: _type(slot) for slot in self.session.get_outputs()}
        return {name: type for name, type in types.items() if type is not None}

    @property
    def providers(self) -> list[str]:
        """The execution providers that run the model, the preferred one first."""
        return list(self.session.get_providers())

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Every output by name; NablacError for feeds that do not fit, or data that an operator refuses."""
        arrays = self._checked(feeds) if self.foreign else self.signature.check(feeds)[0]
        if self._bf16:
            values = self.run_values({name: self.value(array) for name, array in arrays.items()}, device="cpu")
            return {name: self.array(value) for name, value in values.items()}
        try:
            results = self.session.run(self.outputs, arrays)
        except Exception as error:  # as above
            message = "onnxruntime failed while running the model"
            raise self._refusal(codes.E806, message, error, StoppedByData) from error
        return dict(zip(self.outputs, results, strict=True))

    def _checked(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """The arrays to feed, where some inputs have types that the language does not have; those are not checked."""
        missing = [name for name in self.foreign if name not in feeds]
        if missing:
            raise NablacError(
                *(
                    Diagnostic(
                        codes.E801,
                        f"input `{name}` is missing",
                        place=f"input `{name}`",
                        note=f"it is {self.inputs[name].type}",
                    )
                    for name in missing
                )
            )
        arrays, _ = self.signature.check({name: feeds[name] for name in feeds if name not in self.foreign})
        return arrays | {name: feeds[name] for name in self.foreign}

    # Values that stay on the device between runs

    def value(self, array: Array) -> OrtValue:
        """An array on the runner's device."""
        return self._value(array, self.device)

    def host_value(self, array: Array) -> OrtValue:
        """An array in the memory of the CPU, without a copy where it is contiguous."""
        return self._value(array, Device("cpu"))

    @staticmethod
    def _value(array: Array, device: Device) -> OrtValue:
        from onnxruntime import OrtValue

        if array.dtype.name == "bfloat16":  # onnxruntime takes the bits, but not NumPy's extension type
            return OrtValue.ortvalue_from_numpy_with_onnx_type(np.require(array, requirements="C").view(np.uint16), 16)
        return OrtValue.ortvalue_from_numpy(np.require(array, requirements="C"), device.kind, device.number)

    def empty(self, like: OrtValue) -> OrtValue:
        """A value on the runner's device, of the shape and type of another, with undefined content."""
        from onnxruntime import OrtValue

        return OrtValue.ortvalue_from_shape_and_type(
            like.shape(), like.element_type(), self.device.kind, self.device.number
        )

    def array(self, value: OrtValue) -> Array:
        """A copy of a value as an array."""
        if value.data_type() != "tensor(bfloat16)":
            return np.array(value.numpy())
        count = int(np.prod(value.shape(), dtype=np.int64))
        bits = ctypes.string_at(value.data_ptr(), 2 * count)
        return np.frombuffer(bits, DType.BF16.numpy).reshape(value.shape()).copy()

    def run_values(
        self, feeds: Mapping[str, OrtValue], outputs: Collection[str] | None = None, device: str | None = None
    ) -> dict[str, OrtValue]:
        """Run on values without checks, for a training loop. Results are on `device`, or the runner's own."""
        binding = self.session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        names = list(self.outputs if outputs is None else outputs)
        kind, number = (device, 0) if device is not None else (self.device.kind, self.device.number)
        for name in names:
            binding.bind_output(name, kind, number)
        self.run_binding(binding)
        return dict(zip(names, binding.get_outputs(), strict=True))

    def run_binding(self, binding: IOBinding, waits: bool = True) -> None:
        """Run on values that are bound; NablacError for data that an operator refuses.

        Unless it `waits`, a device may still compute when this returns: its `synchronize_outputs` waits for all runs.
        """
        try:
            self.session.run_with_iobinding(binding, None if waits else _without_waiting())
        except Exception as error:  # as above
            message = "onnxruntime failed while running the model"
            raise self._refusal(codes.E806, message, error, StoppedByData) from error

    def _without_shape(self, model: str | Path | bytes) -> set[str]:
        """The inputs of unknown rank, which onnxruntime reports as scalars."""
        if all(slot.shape for slot in self.inputs.values()):
            return set()
        return {slot.name for slot in _read(model).graph.input if not slot.type.tensor_type.HasField("shape")}

    def _refusal(
        self, code: codes.Code, message: str, error: Exception, kind: type[NablacError] = NablacError
    ) -> NablacError:
        """An onnxruntime error as a diagnostic of that code, at the source line of the node that it names.

        It is raised as `kind`, or as another error if there is not enough memory or a kernel is missing.
        """
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        text = " ".join(str(error).split())
        named = _NODE.search(text)
        node = self._node(named[1]) if named else None
        source = {entry.key: entry.value for entry in node.metadata_props} if node is not None else {}
        location = source.get("source") or source.get("layer") or self.name
        # onnxruntime has no exception of its own for a lack of memory: it raises a RuntimeException.
        memory = re.search(r"requested buffer of size (\d+)", text)
        if memory is not None or "bad_alloc" in text:
            of = f", of {int(memory[1]):,} bytes" if memory is not None else ""
            message = f"not enough memory for a result{of}"
            return NablacError(Diagnostic(codes.E810, message, place=location, hint="run a smaller batch"))
        if isinstance(error, errors.NotImplemented):
            hint = f"its provider for `{self.device}` has no kernel for this; the NumPy runtime has"
            operator = _IMPLEMENTATION.search(text)
            diagnostic = Diagnostic(code, message, place=location, note=_shorten(text), hint=hint)
            return KernelMissing(diagnostic, operator[1] if operator is not None else None)
        if isinstance(error, errors.InvalidProtobuf):
            message = "this is not an ONNX file, or it is truncated"
        return kind(Diagnostic(code, message, place=location, note=_shorten(text)))

    def _node(self, name: str) -> onnx.NodeProto | None:
        """The node of that name, in nested graphs too; None for fused nodes, whose names are not in the file."""
        if self._model is None:
            return None
        try:
            model = _read(self._model)
        except Exception:  # a file that cannot be read has no nodes
            return None
        return next((node for node in _nodes(model.graph) if node.name == name), None)


def _read(model: str | Path | bytes) -> onnx.ModelProto:
    """A model without the weights in other files."""
    import onnx

    if isinstance(model, bytes):
        return onnx.load_model_from_string(model)
    return onnx.load_model(str(model), load_external_data=False)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            yield node
            waiting.extend(attribute.g for attribute in node.attribute if attribute.HasField("g"))


def harmful_fusions(device: str) -> tuple[str, ...]:
    """The optimizers of onnxruntime that make a model slower on a device, or break it."""
    import onnxruntime as ort

    version = tuple(map(int, ort.__version__.split(".")[:2]))
    # 1.30 fuses reshapes of which one has a computed shape, as that of a `Barrier`, and then refuses the model.
    broken = ("ReshapeFusion",) if version < (1, 31) else ()
    return (*_SLOW_FUSIONS.get(device, ()), *broken)


def has_statistics(model: onnx.ModelProto) -> bool:
    """Whether a layer normalisation gives its statistics too, as where a gradient reads them.

    On CUDA onnxruntime makes such a node and the sum before it one node, whose kernel gives the first result alone:
    the run then fails, since an input of the next node is missing (1.31).
    """
    return any(node.op_type == "LayerNormalization" and any(node.output[1:]) for node in _nodes(model.graph))


@cache
def _without_waiting() -> RunOptions:
    from onnxruntime import RunOptions

    options = RunOptions()
    options.log_severity_level = _QUIET
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def _providers(device: Device) -> list[Any]:
    """The execution provider of the device, and the CPU's for operators that it lacks, with their options."""
    import onnxruntime as ort

    if device.provider not in ort.get_available_providers():
        raise _no_device(device, f"onnxruntime {ort.__version__} was built without it", _REPLACED)
    if device.kind == "cuda" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    if device.kind == "cpu":
        return [device.provider]
    ort.set_default_logger_severity(_QUIET)  # it warns that a provider is none of the new plugins
    # By default its products of f32 have the 11 bits of TF32, which is not how f32 is rounded.
    return [(device.provider, {"device_id": str(device.number), "use_tf32": "0"}), PROVIDERS["cpu"]]


def _type(slot: Any) -> TensorType | None:
    """The type of a session's input: a name in its shape is a named dim, and an unknown size gets a dim of its own."""
    if slot.type not in _TYPES:
        return None
    shape: list[Size] = []
    for axis, size in enumerate(slot.shape):
        shape.append(size if isinstance(size, int) else Dim.named(size or f"axis {axis} of {slot.name}"))
    return TensorType(_TYPES[slot.type], tuple(shape))


def _dtype(slot: Any) -> np.dtype[Any] | None:
    """NumPy's dtype of a session's input; None for strings, sequences and other values that are not numeric tensors."""
    if slot.type in _TYPES:
        return _TYPES[slot.type].numpy
    name = slot.type.removeprefix("tensor(").removesuffix(")")
    return np.dtype(name) if name in ("int16", "uint16", "uint32", "uint64") else None


def _no_device(device: Device, why: str, hint: str) -> NablacError:
    message = f"there is no device `{device}` here: {why}"
    return NablacError(Diagnostic(codes.E910, message, place=f"device `{device}`", hint=hint))


def _shorten(text: str) -> str:
    """The message of onnxruntime without the status code and the lines of its own source."""
    text = _STATUS.sub("", text)
    text = _NOWHERE.sub(" ", text)
    return text if len(text) <= 300 else text[:300] + " ..."
