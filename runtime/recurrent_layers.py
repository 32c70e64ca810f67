"""Recurrent layers in weight files of PyTorch and Keras: in what they differ from the model's.

Their gates are stacked, so one difference makes a dozen weights missing, unknown or of another shape. What differs is
said once for each layer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic
from runtime.name_patterns import Budget
from runtime.renames import Rename, choose

if TYPE_CHECKING:
    from compiler.types import Array

_PYTORCH = re.compile(
    r"(?P<module>(?:.*\.)?)(?P<what>weight_(?:ih|hh|hr)|bias_[ih]h)_l(?P<number>\d+)(?P<back>_reverse)?"
)
_KERAS = re.compile(r"(?P<module>(?:.*/)?)(?P<cell>lstm|gru|simple_rnn)_cell/(?P<what>kernel|recurrent_kernel|bias)")
_WAY = re.compile(r"(forward|backward)_\w+/$")  # of a Bidirectional, at the end of Keras's module
_OF_KERAS = re.compile(r"\.(forward|backward)_\w+$")  # the same in a path, of a model without a Bidirectional there
_CELL = re.compile(r"(?:(?P<layer>.*?)\.)?(?:(?P<way>forward|backward)\.)?(?P<kind>lstm|gru|rnn)_cell\.(?P<what>\w+)")


class Kind(Enum):
    """A recurrent cell of the library: the name of its layer, and how many gates have their weights stacked."""

    LSTM = "LSTM", 4
    GRU = "GRU", 3
    RNN = "SimpleRNN", 1

    def __init__(self, layer: str, gates: int) -> None:
        self.layer, self.gates = layer, gates


@dataclass(frozen=True)
class Facts:
    """What tells one recurrent layer from another; None for what is not known."""

    kind: Kind
    units: int
    inputs: int | None
    has_both: bool  # directions
    layers: int = 1
    reset_after: bool | None = None  # of a GRU
    has_biases: bool = True
    projection: int = 0  # the numbers that an LSTM's output is projected to

    def differing(self, other: Facts) -> list[str]:
        """The facts that differ from another layer's, in words."""
        words = []
        if self.kind != other.kind:
            words.append(f"the cell of {'an' if self.kind is Kind.LSTM else 'a'} {self.kind.layer}")
        if self.layers != other.layers:
            words.append(f"{self.layers} layer{'' if self.layers == 1 else 's'}")
        if self.has_both != other.has_both:
            words.append("both directions" if self.has_both else "one direction")
        if self.projection != other.projection:
            words.append(f"a projection to {self.projection}" if self.projection else "no projection")
        if self.units != other.units:
            words.append(f"{self.units} units")
        if self.inputs != other.inputs and None not in (self.inputs, other.inputs):
            words.append(f"{self.inputs} features to read")
        both = self.reset_after, other.reset_after
        if self.kind == other.kind and None not in both and self.reset_after != other.reset_after:
            words.append(f"`reset_after: {str(self.reset_after).lower()}`")
        if self.has_biases != other.has_biases:
            words.append("biases" if self.has_biases else "no biases")
        return words

    def hint(self, model: Facts) -> str:
        """What to do about a layer of a file that differs from the model's."""
        if self.projection:
            return "the library's LSTM has no projection: train without `proj_size`, or write its cell as equations"
        if not self.has_biases:
            return "add biases of 0 to the file: the library's layer has them"
        options = ", reset_after: false" if self.kind is Kind.GRU and self.reset_after is False else ""
        layer = f"{self.kind.layer}({self.units}{options})"
        layer = f"Bidirectional({layer})" if self.has_both else layer
        if self.layers > 1:
            return f"write a loop in the model, `for i in 0..{self.layers}`, over `{layer}` with `sequences: true`"
        if self.differing(model) == [f"{self.inputs} features to read"]:
            return "the layer reads the last axis of its input: give it so many features"
        return f"write `{layer}` in the model, with its other options as they are"


@dataclass(frozen=True)
class _Cells:
    """The weights of a layer: names of entries of a file, or paths of a model."""

    names: set[str]
    facts: Facts | None


def differing_layers(
    arrays: Mapping[str, Array], renames: Sequence[Rename], expected: Mapping[str, TensorType], location: str
) -> tuple[list[Diagnostic], set[str], set[str]]:
    """A diagnostic for each recurrent layer that differs, with all entries and all paths of these layers.

    `expected` are the types of the model's weights by path. Entries that rules call otherwise than the library's cells
    are not looked at.
    """
    ours, theirs = _in_model(expected), _in_file(arrays, renames, expected)
    faults: list[Diagnostic] = []
    entries, paths = set[str](), set[str]()
    for layer, cells in theirs.items():
        mine = ours.get(layer)
        if mine is None or mine.facts is None or cells.facts is None:
            continue
        words, others = cells.facts.differing(mine.facts), mine.facts.differing(cells.facts)
        if not words:
            continue
        message = f"`{layer}` has {_listed(words)} in the file, and {_listed(others)} in the model"
        faults.append(Diagnostic(codes.E708, message, place=location, hint=cells.facts.hint(mine.facts)))
        entries |= cells.names
        paths |= mine.names
    return faults, entries, paths


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _in_model(expected: Mapping[str, TensorType]) -> dict[str, _Cells]:
    """The recurrent layers of a model by path; those of a loop are one, of several layers."""
    weights: dict[str, dict[str, dict[str, str]]] = {}  # by layer and cell the path of each weight
    for path in expected:
        match = _CELL.fullmatch(path)
        if match is not None:
            cell = f"{match['way'] or ''} {match['kind']}"
            weights.setdefault(match["layer"] or "", {}).setdefault(cell, {})[match["what"]] = path
    layers = {layer: _Cells(set(_paths(cells)), _facts_of(cells, expected)) for layer, cells in weights.items()}
    return _stacked(layers)


def _paths(cells: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for weights in cells.values():
        yield from weights.values()


def _facts_of(cells: Mapping[str, Mapping[str, str]], expected: Mapping[str, TensorType]) -> Facts | None:
    cell, weights = next(iter(cells.items()))
    kind = Kind[cell.split()[-1].upper()]
    sizes = {what[:3]: expected[path].shape for what, path in weights.items() if what[:3] in ("W_x", "W_h")}
    if any(len(sizes.get(what, ())) != 2 for what in ("W_x", "W_h")):
        return None
    units, inputs = sizes["W_x"]
    if not isinstance(units, int) or not isinstance(inputs, int):
        return None
    after = "b_hn" in weights if kind is Kind.GRU else None
    return Facts(kind, units, inputs, len(cells) > 1, reset_after=after, has_biases=any(w[0] == "b" for w in weights))


def _in_file(
    arrays: Mapping[str, Array], renames: Sequence[Rename], expected: Mapping[str, TensorType]
) -> dict[str, _Cells]:
    """The recurrent layers of a file, by the path that the rules have for them."""
    modules: dict[tuple[str, str], dict[str, str]] = {}  # by module and cell the entry of each weight
    for name, array in arrays.items():
        pytorch, keras = _PYTORCH.fullmatch(name), _KERAS.fullmatch(name)
        if pytorch is None and keras is None:
            continue
        _, assignment = choose(name, array.ndim, renames, expected.__contains__, Budget())
        left_out = assignment is not None and not assignment.paths
        if left_out and (pytorch is None or pytorch["what"] != "weight_hr"):  # without which results change
            continue
        if pytorch is not None:
            key = pytorch["module"] + f"l{pytorch['number']}", "pytorch"
            modules.setdefault(key, {})[pytorch["what"] + (pytorch["back"] or "")] = name
        elif keras is not None:
            way = _WAY.search(keras["module"])
            key = _WAY.sub("", keras["module"]), keras["cell"]
            back = "_reverse" if way is not None and way[1] == "backward" else ""
            modules.setdefault(key, {})[keras["what"] + back] = name
    layers: dict[str, _Cells] = {}
    for (_, cell), weights in modules.items():
        layer = _layer_of(weights, arrays, renames, expected)
        if layer is not None:
            shapes = {what: arrays[name].shape for what, name in weights.items()}
            facts = (
                _of_pytorch(shapes)
                if cell == "pytorch"
                else _of_keras(Kind[cell.removeprefix("simple_").upper()], shapes)
            )
            layers[layer] = _Cells(set(weights.values()), facts)
    return _stacked(layers)


def _layer_of(
    weights: Mapping[str, str], arrays: Mapping[str, Array], renames: Sequence[Rename], known: Collection[str]
) -> str | None:
    """The path of the layer that these weights are of, by the rules."""
    name = next((weights[what] for what in ("weight_hh", "recurrent_kernel") if what in weights), None)
    if name is None:
        return None
    _, assignment = choose(name, arrays[name].ndim, renames, known.__contains__, Budget())
    match = _CELL.fullmatch(assignment.paths[0]) if assignment is not None and assignment.paths else None
    return _OF_KERAS.sub("", match["layer"] or "") if match is not None else None


def _of_pytorch(shapes: Mapping[str, tuple[int, ...]]) -> Facts | None:
    recurrent, inputs = shapes["weight_hh"], shapes.get("weight_ih", ())
    if len(recurrent) != 2:
        return None
    projected = shapes.get("weight_hr", ())
    units = projected[1] if len(projected) == 2 else recurrent[1]
    kind = next((kind for kind in Kind if units and recurrent[0] == kind.gates * units), None)
    if kind is None:
        return None
    return Facts(
        kind,
        units,
        inputs[1] if len(inputs) == 2 else None,
        "weight_hh_reverse" in shapes,
        reset_after=True if kind is Kind.GRU else None,
        has_biases="bias_ih" in shapes,
        projection=projected[0] if len(projected) == 2 else 0,
    )


def _of_keras(kind: Kind, shapes: Mapping[str, tuple[int, ...]]) -> Facts | None:
    recurrent, inputs, biases = (shapes.get(what, ()) for what in ("recurrent_kernel", "kernel", "bias"))
    if len(recurrent) != 2:
        return None
    after = len(biases) == 2 if kind is Kind.GRU and biases else None
    has_both = "recurrent_kernel_reverse" in shapes
    size = inputs[0] if len(inputs) == 2 else None
    return Facts(kind, recurrent[0], size, has_both, reset_after=after, has_biases=bool(biases))


def _stacked(layers: Mapping[str, _Cells]) -> dict[str, _Cells]:
    """The layers with those of a stack, `rnn.0` and `rnn.1` of a loop or `rnn` and `rnn.1`, as one."""
    stacks: dict[str, list[str]] = {}
    for layer in layers:
        base = re.sub(r"(?:^|\.)\d+$", "", layer)
        is_stacked = base in layers or f"{base}.0".lstrip(".") in layers
        stacks.setdefault(base if is_stacked else layer, []).append(layer)
    joined = {}
    for base, stack in stacks.items():
        facts = layers[stack[0]].facts
        names = set[str]().union(*(layers[layer].names for layer in stack))
        joined[base] = _Cells(names, replace(facts, layers=len(stack)) if facts is not None else None)
    return joined
