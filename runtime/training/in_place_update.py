"""The update of a training step over the state's own memory, with NumPy: no second copy of the state, no new pages.

The tensors of one role in a group (see `compiler.training.flat_updates`), such as all parameters, all gradients or all
first moments, lie one after the other in one array. One chain of operators runs over it in blocks, whatever the shapes
of the tensors are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import RATE, SEED, STEP
from compiler.shared_work import use_threads
from compiler.training.flat_updates import GRADIENT, FlatGroup, FlatUpdate
from runtime.numpy_chains import PLAIN, Chain, LoopSettings
from runtime.numpy_executor import NumpyRunner
from runtime.observing import watched
from runtime.thread_limits import available_threads
from runtime.training.flat_arrays import LINE, aligned, starts_of

if TYPE_CHECKING:
    from compiler.types import Array

_SMALL = 2**14  # elements of a gradient up to which copying it costs less than a chain of its own


class InPlaceUpdate:
    """The state of a training run, by path, and the update of it.

    `arrays` are the state; `gradients` are where a backend may leave the inputs of the update. Both lie still: every
    step reads and writes the same memory. It takes the arrays of `state` over, which is empty afterwards. With
    `compiled` the groups are updated by compiled loops, whatever the settings say of all else.
    """

    def __init__(
        self,
        update: FlatUpdate,
        state: MutableMapping[str, Array],
        settings: LoopSettings = PLAIN,
        compiled: bool = False,
    ) -> None:
        self.settings = replace(settings, compiled=settings.compiled or compiled)  # of the groups
        self.arrays: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.groups = [_Group(group, state, self.arrays, self.gradients) for group in update.groups]
        self.arrays |= {path: _aligned_copy(state.pop(path)) for path in list(state)}
        self.shared = NumpyRunner(update.shared, self.arrays, settings)
        self.shared.weights.update({path: self.arrays[path] for path in self.shared.weights})
        for name, value in update.shared.inputs.items():
            if name not in {*self.gradients, STEP, SEED, RATE}:
                self.gradients[name] = np.zeros(value.type.bind({}).shape, value.type.dtype.numpy)

    def run(self, feeds: Mapping[str, Array], gradients: Mapping[str, Array] | None = None) -> None:
        """Update the arrays, by the step's number, its key and its rate, and by gradients.

        These are in `self.gradients`, unless other arrays are passed, by the names of the update's inputs.
        """
        read = {**(gradients or self.gradients), **feeds}
        scalars, updates = self.shared.run_step_checked({name: read[name] for name in self.shared.graph.inputs}, {})
        with use_threads(self.settings.threads or available_threads()):
            for group in self.groups:
                group.run(scalars, gradients, self.settings)
        for path, array in updates.items():  # last, since a group may read the values before the step
            self.arrays[path][...] = array


class _Group:
    """The tensors of a group, in one array for each role, small ones first, and the chain that updates them."""

    def __init__(
        self,
        group: FlatGroup,
        state: MutableMapping[str, Array],
        arrays: MutableMapping[str, Array],
        gradients: MutableMapping[str, Array],
    ) -> None:
        roles = {role: value.type.dtype.numpy for role, value in group.roles.items()}
        shapes = {member.path: state[member.path].shape for member in group.members}
        self.members = sorted(group.members, key=lambda member: math.prod(shapes[member.path]))
        unit = LINE // min(dtype.itemsize for dtype in roles.values())
        self.starts = starts_of([math.prod(shapes[member.path]) for member in self.members], unit)
        self.small = sum(math.prod(shapes[member.path]) <= _SMALL for member in self.members)
        self.whole = {role: aligned(self.starts[-1], dtype) for role, dtype in roles.items()}
        self.parts: list[dict[str, Array]] = []
        for member, start in zip(self.members, self.starts[:-1], strict=True):
            shape = shapes[member.path]
            count = math.prod(shape)
            parts = {role: array[start : start + count].reshape(shape) for role, array in self.whole.items()}
            self.parts.append(parts)
            for role, name in member.tensors.items():
                if role == GRADIENT:
                    gradients[name] = parts[role]
                else:
                    parts[role][...] = state.pop(name)
                    arrays[name] = parts[role]
        self.reads = list(group.operands.values())  # roles, or names of scalars
        self.writes = list(group.results)
        self.chain = chain_of_group(group)
        self.update = watched(self.chain.run, group.nodes, _layers(group))

    def run(self, scalars: Mapping[str, Array], gradients: Mapping[str, Array] | None, settings: LoopSettings) -> None:
        """Update the tensors; the gradients of large ones are read where they are."""
        if gradients is None or GRADIENT not in self.whole:
            self._run(self.whole, scalars, settings)
            return
        for member, parts in zip(self.members[: self.small], self.parts, strict=False):
            parts[GRADIENT][...] = gradients[member.tensors[GRADIENT]]
        if self.small:
            end = self.starts[self.small]
            self._run({role: array[:end] for role, array in self.whole.items()}, scalars, settings)
        for member, parts in zip(self.members[self.small :], self.parts[self.small :], strict=True):
            self._run(parts | {GRADIENT: gradients[member.tensors[GRADIENT]]}, scalars, settings)

    def _run(self, tensors: Mapping[str, Array], scalars: Mapping[str, Array], settings: LoopSettings) -> None:
        reads = [tensors[name] if name in tensors else scalars[name] for name in self.reads]
        self.update(reads, [tensors[role] for role in self.writes], settings)


def chain_of_group(group: FlatGroup) -> Chain:
    """The chain that updates the tensors of a group: of its operands, to its results, over those that it reads."""
    reads, writes = list(group.operands.values()), list(group.results)
    overwritten = {index: reads.index(role) for index, role in enumerate(writes) if role in reads}
    nodes = [(node, node.op) for node in group.nodes]
    return Chain(nodes, list(group.operands), list(group.results.values()), overwritten)


def _layers(group: FlatGroup) -> list[str]:
    """The paths of the group's equations, which are written for its first member, for all of its members."""
    first = group.members[0].path
    paths = {node.origin.path.removesuffix(first) for node in group.nodes if node.origin.path.endswith(first)}
    return [path + member.path for path in sorted(paths) for member in group.members]


def _aligned_copy(array: Array) -> Array:
    copy = aligned(array.size, array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
