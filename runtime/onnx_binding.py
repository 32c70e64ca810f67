"""Running an ONNX model on memory that stays the same from run to run, in NumPy's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnxruntime import OrtValue

    from compiler.types import Array
    from runtime.onnx_session import OnnxRunner


class Binding:
    """A model with some inputs and outputs in arrays of the caller's, whose memory it reads and writes.

    On a device of its own memory each run copies the inputs there and the outputs back. An output must not be in the
    memory of an input: a kernel may write it before another has read the input.
    """

    def __init__(self, runner: OnnxRunner, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        self.runner = runner
        self.binding = runner.session.io_binding()
        # On a CPU the session reads the arrays themselves; elsewhere it copies them when they are bound.
        self._copied = {} if runner.device.kind == "cpu" else dict(inputs)
        self.other_inputs = [name for name in runner.inputs if name not in inputs]
        self.new = [name for name in runner.outputs if name not in outputs]
        self._bind_new()  # first: onnxruntime returns outputs in the order in which they were bound
        for name in runner.inputs:
            if name in inputs and name not in self._copied:
                self.binding.bind_ortvalue_input(name, self._value(name, inputs[name]))
        for name, array in outputs.items():
            self.binding.bind_ortvalue_output(name, self._value(name, array))

    def _bind_new(self) -> None:
        for name in self.new:
            self.binding.bind_output(name, "cpu")

    def _value(self, name: str, array: Array) -> OrtValue:
        value = self.runner.host_value(array)
        assert not array.size or value.data_ptr() == array.ctypes.data, f"`{name}` was copied"
        return value

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run on the other inputs, by name; returns the other outputs."""
        from onnxruntime import OrtValue

        for name, array in {**self._copied, **{name: feeds[name] for name in self.other_inputs}}.items():
            self.binding.bind_ortvalue_input(name, self.runner.host_value(np.asarray(array)))
        self._bind_new()  # anew, since onnxruntime would write over the last results
        self.runner.run_binding(self.binding)
        values = self.binding.get_outputs_as_ortvaluevector()
        return {name: self.runner.array(OrtValue(values[index])) for index, name in enumerate(self.new)}
