"""Writes the tables of kernels in `compiler/kernels/`: which ONNX operators a runtime has, since when, in which types.

    python -m benchmarks.kernel_tables ort-cpu
    python -m benchmarks.kernel_tables ort-cuda OperatorKernels.md [COMMIT]
    python -m benchmarks.kernel_tables ort-web node_modules/onnxruntime-web/dist/ort.all.mjs VERSION
    python -m benchmarks.kernel_tables tensorrt operators.md [COMMIT]

The CPU's kernels are asked of the installed onnxruntime. Those of CUDA are in `docs/OperatorKernels.md` of
microsoft/onnxruntime, TensorRT's in `docs/operators.md` of onnx/onnx-tensorrt. Those of WebGPU are the names in the
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

    kernels: dict[str, dict[tuple[int, int | None], set[str]]] = {}
    for kernel in state.get_all_opkernel_def():
        if kernel.domain or kernel.provider != "CPUExecutionProvider":
            continue
        first, last = kernel.version_range
        parsed = row(kernel.op_name, first, None if last > 1000 else last, kernel.type_constraints)
        if parsed is not None:  # one operator may have a kernel of its own for each type
            kernels.setdefault(kernel.op_name, {}).setdefault(parsed[:2], set()).update(parsed[2].split())
    return {
        name: [(first, last, " ".join(sorted(types))) for (first, last), types in rows.items()]
        for name, rows in kernels.items()
    }


def cuda_kernels(text: str) -> dict[str, list[Row]]:
    """The kernels in the section of the CUDA provider of onnxruntime's list."""
    section = text.split('<a name="cudaexecutionprovider"/>')[1].split('<a name="')[0].split("*com.microsoft*")[0]
    kernels: dict[str, list[Row]] = {}
    name = ""
    for line in section.splitlines():
        cells = line.strip().strip("|").split("|") if line.startswith("|") else []
        versions = re.fullmatch(r"\[?(\d+)(?:, (\d+)\]|(\+))?", cells[-2].strip()) if len(cells) >= 2 else None
        if versions is None:
            continue
        name = cells[0] if len(cells) == 4 else name
        first = int(versions[1])
        last = None if versions[3] else int(versions[2] or first)
        types = {
            parameter: re.findall(r"tensor\(\w+\)", listed)
            for parameter, listed in re.findall(r"\*\*(\w+)\*\* = ([^*]*)", cells[-1])
        }
        parsed = row(name, first, last, types)
        if parsed is not None:
            kernels.setdefault(name, []).append(parsed)
    return kernels


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
    text = Path(file).read_text("utf-8") if file else ""
    at = f" at commit {version}" if version else ""
    if target == "ort-cpu":
        import onnxruntime

        write(target, f"get_all_opkernel_def() of onnxruntime {onnxruntime.__version__}", cpu_kernels())
    elif target == "ort-cuda":
        write(target, f"docs/OperatorKernels.md of microsoft/onnxruntime{at}", cuda_kernels(text))
    elif target == "ort-web":
        write(target, f"dist/{Path(file).name} of onnxruntime-web {version}", web_kernels(text))
    elif target == "tensorrt":
        release = re.search(r"TensorRT ([\d.]+\d)", text)
        name = f"TensorRT {release[1]}" if release else "TensorRT"
        write(target, f"docs/operators.md of onnx/onnx-tensorrt for {name}{at}", tensorrt_kernels(text))
    else:
        sys.exit(f"no table of kernels is written for `{target}`")


if __name__ == "__main__":
    main(*sys.argv[1:])
