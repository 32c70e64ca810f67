"""Writes the tables of kernels in `compiler/kernels/`: which ONNX operators a runtime has, since when, in which types.

    python -m benchmarks.kernel_tables ort-cpu
    python -m benchmarks.kernel_tables ort-cuda ENVIRONMENT/bin/python [TABLE]
    python -m benchmarks.kernel_tables ort-web node_modules/onnxruntime-web/dist/ort.all.mjs VERSION
    python -m benchmarks.kernel_tables tensorrt operators.md [COMMIT]

The CPU's kernels are asked of the installed onnxruntime. Those of CUDA are asked of the provider in a wheel of
onnxruntime-gpu, installed into an environment of its own, with stand-ins for NVIDIA's libraries (see `stand_in_gpu`):
it needs no GPU. TABLE is the name of the table for another version than the target's, as `ort-cuda-1.27`. TensorRT's
are in `docs/operators.md` of onnx/onnx-tensorrt. Those of WebGPU are the names in the
bundle of the npm package, which says nothing of versions and types: the provider registers 32-bit and 16-bit numbers.

A row of a table is a kernel: the first version of the operator that it implements, the last one (null: that version
alone, and every opset at which it is the current one), and the types of its main operand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import onnx

from compiler.kernels.tables import main_operand

FOLDER = Path(__file__).parent.parent / "compiler" / "kernels"
LOWEST, HIGHEST = 17, 24  # opsets; kernels for none of them are left out
WEB_OPSET = 21  # many versions of operators that came after it are not registered for WebGPU
_NAMES = {
    "float": "f32",
    "float16": "f16",
    "double": "f64",
    "bfloat16": "bf16",
    "bool": "bool",
    **{f"{sign}int{bits}": f"{sign[:1] or 'i'}{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_TENSORRT = {
    "FP32": "f32",
    "FP16": "f16",
    "BF16": "bf16",
    "INT32": "i32",
    "INT64": "i64",
    "UINT8": "u8",
    "BOOL": "bool",
}
_WEBGPU = "f16 f32 i32 u32"
_WITHOUT_KERNEL = ("Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze")  # on WebGPU nothing is computed

Row = tuple[int, int | None, str]


def main_parameter(name: str, version: int) -> str:
    """The type parameter of an operator's main operand."""
    results, index = main_operand(name, version)
    schema = onnx.defs.get_schema(name, version, "")
    return str((schema.outputs if results else schema.inputs)[index].type_str)


def row(name: str, first: int, last: int | None, types: Mapping[str, Iterable[str]]) -> Row | None:
    """The row of one kernel, from the types of all its parameters; None for one that no supported opset can use."""
    if last is not None and last < LOWEST:
        return None
    try:
        parameter = main_parameter(name, first)
    except onnx.defs.SchemaError:
        return None
    listed = types.get(parameter, ())
    names = sorted({_NAMES[type] for type in (text[7:-1] for text in listed) if type in _NAMES})
    return (first, last, " ".join(names)) if names else None


def cpu_kernels() -> dict[str, list[Row]]:
    """The kernels of the installed onnxruntime."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return registered_kernels(
        (kernel.op_name, kernel.version_range, kernel.type_constraints)
        for kernel in state.get_all_opkernel_def()
        if not kernel.domain and kernel.provider == "CPUExecutionProvider"
    )


def registered_kernels(
    registry: Iterable[tuple[str, tuple[int, int], Mapping[str, Iterable[str]]]],
) -> dict[str, list[Row]]:
    """The rows of what a provider registers: operators, the first and the last version, and types by parameter."""
    kernels: dict[str, dict[tuple[int, int | None], set[str]]] = {}
    for name, (first, last), types in registry:
        parsed = row(name, first, None if last > 1000 else last, types)
        if parsed is not None:  # one operator may have a kernel of its own for each type
            kernels.setdefault(name, {}).setdefault(parsed[:2], set()).update(parsed[2].split())
    return {
        name: [(first, last, " ".join(sorted(types))) for (first, last), types in rows.items()]
        for name, rows in kernels.items()
    }


def web_kernels(text: str) -> dict[str, list[Row]]:
    """The kernels that the bundle of onnxruntime-web has for WebGPU."""
    rules = text.split("WEBGPU_OP_RESOLVE_RULES = ")[1].split("]);")[0]
    names = {*re.findall(r'\["(\w+)", \[', rules), *_WITHOUT_KERNEL}
    kernels: dict[str, list[Row]] = {}
    for name in names:
        if not onnx.defs.has(name):
            continue  # an operator of onnxruntime's own
        types = " ".join(sorted({*_WEBGPU.split(), "bool", "i64"})) if name in _WITHOUT_KERNEL else _WEBGPU
        kernels[name] = [(1, WEB_OPSET, types)]
    return kernels


def tensorrt_kernels(text: str) -> dict[str, list[Row]]:
    """The operators that TensorRT's parser supports, at every version."""
    kernels: dict[str, list[Row]] = {}
    for name, supported, types in re.findall(r"^\| (\w+) *\| (\w) *\|([^|\n]*)", text, re.MULTILINE):
        if supported == "Y":
            known = sorted({_TENSORRT[type] for type in types.replace(" ", "").split(",") if type in _TENSORRT})
            kernels[name] = [(1, HIGHEST, " ".join(known))]
    return kernels


def write(target: str, source: str, kernels: Mapping[str, list[Row]]) -> None:
    """Write a table, a line for each operator."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(sorted(rows))}" for name, rows in sorted(kernels.items()))
    head = f'"source": {json.dumps(source)},\n"read": "{date.today()}",\n'
    (FOLDER / f"{target}.json").write_text(f'{{\n{head}"kernels": {{\n{lines}\n}}}}\n', "utf-8")


def main(target: str, file: str = "", version: str = "") -> None:
    """Write the table of one target."""
    at = f" at commit {version}" if version else ""
    if target == "ort-cpu":
        import onnxruntime

        write(target, f"get_all_opkernel_def() of onnxruntime {onnxruntime.__version__}", cpu_kernels())
    elif target == "ort-cuda":
        from benchmarks.stand_in_gpu import kernels

        release, rows = kernels(file)
        own = [row[2:] for row in rows if row[:2] == ("CUDAExecutionProvider", "")]
        source = f"get_all_opkernel_def() of onnxruntime-gpu {release}"
        write(version or target, source, registered_kernels(own))
    elif target == "ort-web":
        text = Path(file).read_text("utf-8")
        write(target, f"dist/{Path(file).name} of onnxruntime-web {version}", web_kernels(text))
    elif target == "tensorrt":
        text = Path(file).read_text("utf-8")
        name = f"TensorRT {found[1]}" if (found := re.search(r"TensorRT ([\d.]+\d)", text)) else "TensorRT"
        write(target, f"docs/operators.md of onnx/onnx-tensorrt for {name}{at}", tensorrt_kernels(text))
    else:
        sys.exit(f"no table of kernels is written for `{target}`")


if __name__ == "__main__":
    main(*sys.argv[1:])
