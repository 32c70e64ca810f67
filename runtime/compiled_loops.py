"""Compiled loops for chains of elementwise operators, by numba: the extra `jit`.

A loop is generated from a chain's operators, with numbers as arguments: one optimizer has one loop, whatever the shapes
and the learning rate are. Only operators with an `element_code` are compiled: arithmetic, which IEEE 754 defines
to the bit, so that the results have NumPy's bits. Loops are kept in the user's cache folder from run to run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.graph import Node, Operator, Value
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.table import cache_folder
from runtime.atomic_files import Unwritable, write_bytes

if TYPE_CHECKING:
    from types import ModuleType

Loop = Callable[..., None]

_LOOPS = "loops"  # the folder in the user's cache folder


def require_numba() -> None:
    """NablacError where numba is not installed."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        hint = "`pip install 'nablac[jit]'` installs it; without --jit NumPy does the same, in blocks"
        raise NablacError(Diagnostic(codes.E910, "--jit needs numba", place="jit", hint=hint)) from error


def source_of(
    nodes: Sequence[tuple[Node, Operator]],
    inputs: Sequence[Value],
    results: Sequence[int],
    overwritten: dict[int, int],
    is_array: Sequence[bool],
) -> str | None:
    """The text of a loop; None if an operator or a dtype has none.

    `results` are the registers of the outputs: inputs first, then a register for each node. The loop takes the inputs,
    arrays or numbers, and then the outputs that do not overwrite an input.
    """
    names = {value: f"x{number}" for number, value in enumerate(inputs)}
    lines: list[str] = []
    values = [*inputs, *(node.result for node, _ in nodes)]
    if any(value.type.dtype.is_half for value in values):
        return None
    for number, array in enumerate(is_array):
        if array:
            lines.append(f"e{number} = x{number}[i]")
            names[inputs[number]] = f"e{number}"
    for number, (node, op) in enumerate(nodes, len(inputs)):
        code = op.element_code(*(names[operand] for operand in node.operands))
        if code is None:
            return None
        names[node.result] = f"e{number}"
        dtype = node.result.type.dtype
        lines.append(f"e{number} = " + (code if dtype.kind == "bool" else f"np.{dtype.numpy.name}({code})"))
    targets = [f"x{overwritten[index]}" if index in overwritten else f"y{index}" for index in range(len(results))]
    lines += [f"{target}[i] = {names[values[result]]}" for target, result in zip(targets, results, strict=True)]
    arguments = [f"x{number}" for number in range(len(inputs))] + [name for name in targets if name.startswith("y")]
    body = "".join(f"        {line}\n" for line in lines)
    return (
        "import numpy as np\nfrom numba import njit\n\n\n"
        f'@njit(cache=True, nogil=True, error_model="numpy")\ndef loop({", ".join(arguments)}):\n'
        f"    for i in range({targets[0]}.shape[0]):\n{body}"
    )


def compiled_loop(source: str) -> Loop:
    """The function of a text of `source_of`, compiled when it is first called with arrays of a dtype."""
    path = _cached(source)
    if path is None:
        namespace: dict[str, Any] = {}
        exec(source.replace("cache=True, ", ""), namespace)
        loop: Loop = namespace["loop"]
        return loop
    spec = spec_from_file_location(f"nablac_loop_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module: ModuleType = module_from_spec(spec)
    sys.modules[spec.name] = module  # numba finds it there when it reads what it has kept
    spec.loader.exec_module(module)
    cached: Loop = module.loop
    return cached


def is_kept(source: str) -> bool:
    """Whether an earlier run has compiled the loop, and has kept it."""
    folder = cache_folder()
    return folder is not None and any((folder / _LOOPS / "__pycache__").glob(f"{_name_of(source)}.*.nbc"))


def _name_of(source: str) -> str:
    """The name of the file with this text, without its suffix."""
    return blake2b(source.encode(), digest_size=12).hexdigest()


def _cached(source: str) -> Path | None:
    """The file with this text in the user's cache folder, beside which numba keeps what it compiles.

    None where there is no such folder, or others than the user may write to it: numba would run what they wrote.
    """
    folder = cache_folder()
    if folder is None or not hasattr(os, "getuid"):
        return None
    loops = folder / _LOOPS
    try:
        loops.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = loops.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            return None
        path = loops / f"{_name_of(source)}.py"
        if not path.exists() or path.read_text("utf-8") != source:
            write_bytes(path, source.encode())
    except (OSError, Unwritable):
        return None
    return path
