"""Weights in `.safetensors` files, by parameter path; nothing is ever unpickled.

A rename rule `theirs -> ours` maps foreign names to paths. `{name}` in it stands for a stretch without dots that is
the same on both sides, and a `^T` at the end turns the last two axes: `layers.{i}.fc.weight -> block.{i}.dense.W ^T`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph
from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.files import written_whole
from runtime.initialization import stored

if TYPE_CHECKING:
    from compiler.types import Array

_PLACE = re.compile(r"\\\{(\w+)\\\}")
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Rename:
    """One rule: a pattern of foreign names, the path it becomes, and whether the last two axes turn."""

    pattern: re.Pattern[str]
    path: str
    turned: bool

    def apply(self, name: str) -> str | None:
        """The path of a foreign name; None where the rule does not speak of it."""
        match = self.pattern.fullmatch(name)
        return self.path.format(**match.groupdict()) if match else None


def read_renames(rules: Iterable[str]) -> list[Rename]:
    """Rules as written on the command line, or lines of files named there; `#` begins a comment."""
    found: list[Rename] = []
    for rule in rules:
        if "->" in rule:
            found.append(_rename(rule, "--rename"))
            continue
        path = Path(rule)
        if not path.is_file():
            hint = 'write a rule as "theirs -> ours", or name a file of such lines'
            raise NablacError(Diagnostic("E706", f"there is no file of rename rules {rule}", place="--rename", hint=hint))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            text = line.split("#")[0].strip()
            if text:
                found.append(_rename(text, f"{rule}:{number}"))
    return found


def _rename(rule: str, place: str) -> Rename:
    theirs, sign, ours = (part.strip() for part in rule.partition("->"))
    turned = ours.endswith("^T")
    ours = ours.removesuffix("^T").strip()
    names, wanted = set(re.findall(r"\{(\w+)\}", theirs)), set(re.findall(r"\{(\w+)\}", ours))
    if not theirs or not ours or not sign or not wanted <= names:
        raise NablacError(
            Diagnostic(
                "E706",
                f"`{rule}` is no rename rule",
                place=place,
                hint="as in `layers.{i}.fc.weight -> block.{i}.dense.W ^T`, with no new {name} on the right",
            )
        )
    pattern = _PLACE.sub(r"(?P<\1>[^.]+)", re.escape(theirs))
    return Rename(re.compile(pattern), ours, turned)


def save_weights(path: str | Path, weights: Mapping[str, Array]) -> None:
    """Write weights to a `.safetensors` file, whole or not at all."""
    from safetensors.numpy import save_file

    with written_whole(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, str(temporary))


def load_weights(path: str | Path, graph: Graph, renames: Iterable[Rename] = ()) -> dict[str, Array]:
    """The weights of a graph from a file; every missing, unknown or misshaped entry is in one error."""
    wanted = {op.path: op.type for op in stored(graph)}
    given = _renamed(_read(Path(path)), list(renames), str(path))
    wrong: list[Diagnostic] = []
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    for name in missing:
        near = did_you_mean(name, unknown)
        wrong.append(Diagnostic("E701", f"`{name}`: {wanted[name]} is missing", place=str(path), hint=near))
    for name in unknown:
        hint = did_you_mean(name, missing) or "`--rename` maps foreign names to paths"
        wrong.append(Diagnostic("E702", f"the model has no parameter `{name}`", place=str(path), hint=hint))
    found: dict[str, Array] = {}
    for name, type in wanted.items():
        if name in given:
            try:
                found[name] = _fitted(name, given[name], type, str(path))
            except NablacError as error:
                wrong.extend(error.diagnostics)
    if wrong:
        raise NablacError(*wrong)
    return found


def _fitted(name: str, array: Array, type: TensorType, path: str) -> Array:
    if array.shape != type.shape:
        hint = "turn it with a rename rule that ends in `^T`" if array.shape == type.shape[::-1] else None
        message = f"`{name}` is {list(array.shape)}, and the model has {type}"
        raise NablacError(Diagnostic("E703", message, place=path, hint=hint))
    dtype = type.dtype.numpy
    if array.dtype != dtype and (array.dtype.kind in "iub") != (dtype.kind in "iub"):
        raise NablacError(Diagnostic("E704", f"`{name}` is {array.dtype}, and the model has {type}", place=path))
    return array.astype(dtype, copy=False)


def _renamed(given: dict[str, Array], renames: list[Rename], path: str) -> dict[str, Array]:
    found: dict[str, Array] = {}
    origins: dict[str, str] = {}
    for name, array in given.items():
        target = name
        for rule in renames:
            ours = rule.apply(name)
            if ours is not None:
                target, array = ours, np.swapaxes(array, -1, -2) if rule.turned and array.ndim > 1 else array
                break
        if target in found:
            raise NablacError(
                Diagnostic("E706", f"`{origins[target]}` and `{name}` both become `{target}`", place=path)
            )
        found[target], origins[target] = array, name
    return found


def _read(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        raise NablacError(Diagnostic("E901", f"there is no file {path}", place=str(path)))
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(_PICKLES):
        raise NablacError(
            Diagnostic(
                "E705",
                "this is a pickled checkpoint, and unpickling runs whatever code it holds",
                place=str(path),
                hint="where it is trusted: `safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)`",
            )
        )
    if head.startswith(b"version https://git-lfs"):
        raise NablacError(
            Diagnostic("E705", "this is a Git LFS pointer, not the weights", place=str(path), hint="fetch them: `git lfs pull`")
        )
    try:
        return dict(load_file(str(path)))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise NablacError(Diagnostic("E705", f"this is no whole .safetensors file: {error}", place=str(path))) from None
