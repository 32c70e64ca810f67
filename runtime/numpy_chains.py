"""Chains of elementwise operators over large arrays, run block by block, so that what is between them stays in cache.

One NumPy call after the other reads and writes every intermediate array in memory. A chain takes a block of all its
operands through all its operators before it takes the next one, with the same functions on the same elements: the
results have the same bits. Blocks are independent, and may run on several threads. Random draws are part of chains too,
since each depends on its index alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.graph import Node, Operator, Value
from compiler.shared_work import do_parts, threads_in_use
from compiler.types import TensorType
from runtime.chain_kernels import kernels_of

if TYPE_CHECKING:
    from compiler.types import Array

BLOCK = 2**16  # elements of a block: a few arrays of f32 fill a second-level cache; half and twice as many are slower
LEAST = 2**17  # elements of a result from which blocks pay
LEAST_COMPILED = 2**14  # elements from which a compiled loop pays: at 2,000, NumPy takes less than the call
_LEAST_FOR_THREADS = 2**19  # elements below which handing blocks to a second thread costs more than it saves
_PARTS = 4  # for each thread, so that one without a processor keeps nobody waiting

# Two functions for which NumPy no longer accepts a positional `out`.
_KEYWORD_OUT: frozenset[Callable[..., Any]] = frozenset({np.maximum, np.minimum})


@dataclass(frozen=True)
class LoopSettings:
    """How a graph runs: on how many threads, all that are available where that is None, and with compiled loops."""

    threads: int | None = None
    compiled: bool = False


PLAIN = LoopSettings()


class _Link:
    """One operator of a chain: its function, the registers of its operands, and where its result goes."""

    __slots__ = ("by_index", "dtype", "function", "operands", "output", "result", "scratch", "writes")

    def __init__(
        self,
        function: Callable[..., Any],
        operands: tuple[int, ...],
        result: int,
        op: Operator,
        dtype: np.dtype[Any],
    ) -> None:
        self.function, self.operands, self.result, self.dtype = function, operands, result, dtype
        self.by_index = op.by_index  # whether the function takes the index of the first element and where to write
        # Whether it takes an array to write to.
        self.writes = op.by_index or op.universal_function is not None or op.writer is not None
        self.output = -1  # the index of the output that is written directly
        self.scratch = -1  # else the index of a scratch block


class Chain:
    """Elementwise operators, and those `by_index`, in order; the results have one shape, to which the inputs broadcast.

    `overwritten` are indices of inputs, by the indices of the outputs that are written to their memory. They are
    written block by block, each after all that reads the block.
    """

    def __init__(
        self,
        nodes: Sequence[tuple[Node, Operator]],
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        overwritten: Mapping[int, int] | None = None,
    ) -> None:
        self.nodes, self.inputs, self.outputs = tuple(nodes), tuple(inputs), tuple(outputs)
        self.overwritten = dict(overwritten or {})
        register = {value: number for number, value in enumerate(inputs)}
        last: dict[int, int] = {}
        self.links: list[_Link] = []
        for node, op, operands, function in kernels_of(self.nodes, self.outputs):
            read = tuple(register[operand] for operand in operands)
            last.update(dict.fromkeys(read, len(self.links)))
            register[node.result] = len(register)
            self.links.append(_Link(function, read, register[node.result], op, node.result.type.dtype.numpy))
        self.registers = len(register)
        self.results = tuple(register[output] for output in outputs)
        self.dtypes = tuple(output.type.dtype.numpy for output in outputs)
        self.late = self._assign(last)
        overwritten_inputs = set(self.overwritten.values())
        self.kept = {register for _, register in self.late if register in overwritten_inputs}
        self._own = threading.local()
        self._loops: dict[tuple[bool, ...], Callable[..., None] | None] = {}

    def _assign(self, last: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
        """Decide where each link writes; returns (output, register) pairs that are copied at the end of a block."""
        late: list[tuple[int, int]] = []
        self.scratch: list[np.dtype[Any]] = []
        free: dict[np.dtype[Any], list[int]] = {}
        slot_of: dict[int, int] = {}  # the scratch block of a register
        ends = {register: index for index, register in reversed(list(enumerate(self.results)))}
        last = {
            **last,
            **dict.fromkeys((register for register in ends if register < len(self.inputs)), len(self.links)),
        }
        writers = {link.result: number for number, link in enumerate(self.links)}
        unclaimed = set(ends.values())
        for number, link in enumerate(self.links):
            # A function that reads its operands element by element may write over one that nothing else reads.
            for operand in set(link.operands):
                if last[operand] <= number and operand in slot_of and operand not in ends:
                    slot = slot_of.pop(operand)
                    free[self.scratch[slot]].append(slot)
            index = ends.get(link.result, -1)
            if index >= 0 and not self._read_after(index, number, last):
                link.output = index
            elif link.writes:
                dtype = link.dtype
                early = next(
                    (
                        output
                        for register, output in ends.items()
                        if output in unclaimed
                        and last.get(link.result, -1) == writers.get(register)
                        and dtype == self.dtypes[output]
                        and not self._read_after(output, number, last)
                    ),
                    None,
                )
                if index < 0 and early is not None:
                    unclaimed.discard(early)
                    link.output = early  # until the function that reads this result writes the output there
                else:
                    waiting = free.setdefault(dtype, [])
                    if not waiting:
                        waiting.append(len(self.scratch))
                        self.scratch.append(dtype)
                    link.scratch = slot_of[link.result] = waiting.pop()
            if index >= 0 and link.output != index:
                late.append((index, link.result))
        # An output that is another output too, or an input, is copied: inputs first, before they are written to.
        first = [(index, register) for index, register in enumerate(self.results) if register < len(self.inputs)]
        late += [
            (index, register)
            for index, register in enumerate(self.results)
            if register >= len(self.inputs) and ends[register] != index
        ]
        return tuple(first + late)

    def _read_after(self, output: int, number: int, last: Mapping[int, int]) -> bool:
        """Whether the input that an output overwrites is still read after the link of this number."""
        return last.get(self.overwritten.get(output, -1), -1) > number

    def __call__(self, *arrays: Array, settings: LoopSettings = PLAIN) -> tuple[Array, ...]:
        """The outputs: new arrays, or those that are overwritten."""
        filled = (op.infer(*(operand.type for operand in node.operands)) for node, op in self.nodes if op.by_index)
        shape = np.broadcast_shapes(
            *(array.shape for array in arrays),
            *(type.numeric_shape for type in filled if isinstance(type, TensorType)),
        )
        outputs = tuple(
            arrays[self.overwritten[index]] if index in self.overwritten else np.empty(shape, dtype)
            for index, dtype in enumerate(self.dtypes)
        )
        self.run(arrays, outputs, settings)
        return outputs

    def run(self, arrays: Sequence[Array], outputs: Sequence[Array], settings: LoopSettings = PLAIN) -> None:
        """Write the outputs."""
        shape = outputs[0].shape
        count = outputs[0].size
        flat = all(array.flags.c_contiguous for array in outputs) and all(
            array.size == 1 or (array.shape == shape and array.flags.c_contiguous) for array in arrays
        )
        if flat:
            arrays = [array.reshape(-1) if array.ndim else array for array in arrays]
            outputs = [array.reshape(-1) for array in outputs]
            rows, length = BLOCK, count
        else:
            length = shape[0]
            rows = max(1, BLOCK // max(1, count // max(1, length)))
        sliced = [array.ndim == outputs[0].ndim and array.shape[0] == length and length > 1 for array in arrays]
        blocks, threads = range(0, length, rows), threads_in_use()
        parts = 1 if count < _LEAST_FOR_THREADS or threads == 1 else min(_PARTS * threads, len(blocks))
        loop = self._loop(tuple(sliced)) if settings.compiled and flat and length > 1 else None

        def write(part: int) -> None:
            if loop is not None:
                elements = slice(length * part // parts, length * (part + 1) // parts)
                self._call(loop, elements, arrays, outputs, sliced)
            else:
                self._blocks(blocks[part::parts], rows, arrays, outputs, sliced)

        do_parts(write, parts)

    def _loop(self, is_array: tuple[bool, ...]) -> Callable[..., None] | None:
        """The compiled loop for inputs that are arrays or numbers; None where there is none."""
        if is_array not in self._loops:
            from runtime.compiled_loops import compiled_loop, source_of

            source = source_of(self.nodes, self.inputs, self.results, self.overwritten, is_array)
            self._loops[is_array] = compiled_loop(source) if source is not None else None
        return self._loops[is_array]

    def _call(
        self,
        loop: Callable[..., None],
        part: slice,
        arrays: Sequence[Array],
        outputs: Sequence[Array],
        sliced: Sequence[bool],
    ) -> None:
        """Run a compiled loop over a part of the arrays."""
        reads = [array[part] if slices else array.reshape(())[()] for array, slices in zip(arrays, sliced, strict=True)]
        loop(*reads, *(output[part] for index, output in enumerate(outputs) if index not in self.overwritten))

    def _blocks(
        self,
        starts: range,
        rows: int,
        arrays: Sequence[Array],
        outputs: Sequence[Array],
        sliced: Sequence[bool],
    ) -> None:
        """Take the blocks that begin at these rows through the chain."""
        registers: list[Any] = [*arrays, *(None for _ in range(self.registers - len(arrays)))]
        cut = [number for number, slices in enumerate(sliced) if slices]
        row = outputs[0].shape[1:]
        width = int(np.prod(row, dtype=np.int64))
        with np.errstate(all="ignore"):
            for start in starts:
                for number in cut:
                    registers[number] = arrays[number][start : start + rows]
                parts = [output[start : start + rows] for output in outputs]
                height = len(parts[0])
                scratch = self._scratch(height * width, (height, *row))
                for link in self.links:
                    operands = [registers[operand] for operand in link.operands]
                    into = parts[link.output] if link.output >= 0 else scratch[link.scratch] if link.writes else None
                    if not link.writes:
                        result = link.function(*operands)
                        if into is not None:
                            into[...] = result
                            result = into
                        registers[link.result] = result
                    elif link.by_index:
                        link.function(range(start * width, (start + height) * width), into, *operands)
                        registers[link.result] = into
                    elif link.function in _KEYWORD_OUT:
                        registers[link.result] = link.function(*operands, out=into)
                    else:
                        registers[link.result] = link.function(*operands, into)
                for register in self.kept:
                    registers[register] = np.array(registers[register])
                for index, register in self.late:
                    parts[index][...] = registers[register]

    def _scratch(self, count: int, shape: tuple[int, ...]) -> list[Array]:
        """This thread's scratch blocks, in a shape; they are kept from call to call."""
        kept: tuple[tuple[int, ...], list[Array], list[Array]] | None = getattr(self._own, "kept", None)
        if kept is not None and kept[0] == shape:
            return kept[1]
        whole = kept[2] if kept is not None else []
        if not whole or len(whole[0]) < count:
            whole = [np.empty(max(count, BLOCK), dtype) for dtype in self.scratch]
        views = [array[:count].reshape(shape) for array in whole]
        self._own.kept = shape, views, whole
        return views
