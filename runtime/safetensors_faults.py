"""Readable reasons why a `.safetensors` file is invalid, in place of the library's internal ones.

The format (https://github.com/huggingface/safetensors#format): eight bytes with the length of a JSON header, that
header, and the tensors' bytes without gaps.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from runtime.boundary import read_at_most

_BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8}
_BITS |= {"I8": 8, "U8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32}
_BITS |= {"I64": 64, "U64": 64, "F64": 64, "C64": 64}
_LARGEST_HEADER = 100_000_000  # bytes, a limit of the format


def fault_of(path: Path) -> str:
    """What is wrong with a file that the library has refused, as a clause."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > max(size - 8, 0) or length > _LARGEST_HEADER:
            if size >= 8 and length > _LARGEST_HEADER:  # these are probably the first letters of a text
                return "its first bytes are not those of the format"
            what = f"its header of {length:,} bytes is not whole" if size >= 8 else f"it has {size} bytes"
            return f"it is truncated: {what}"
        header = read_at_most(file, length - 1) if length else b""
    try:
        entries = json.loads(header)
    except (ValueError, RecursionError):
        return "its header is not JSON"
    if not isinstance(entries, dict):
        return "its header is not a JSON object"
    tensors = {name: entry for name, entry in entries.items() if name != "__metadata__"}
    wrong = next((fault for name, entry in tensors.items() if (fault := _fault_of_entry(name, entry))), None)
    if wrong is not None:
        return wrong
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        if entry["data_offsets"][0] != end:
            return f"the bytes of `{name}` begin at {entry['data_offsets'][0]:,}, and those before it end at {end:,}"
        end = entry["data_offsets"][1]
    if end != size - 8 - length:
        cut = "it is truncated: " if end > size - 8 - length else ""
        return f"{cut}its header declares {end:,} bytes of tensors; the file has {size - 8 - length:,}"
    return "its header does not follow the format"


def _fault_of_entry(name: str, entry: Any) -> str | None:
    """What is wrong with the header's entry for one tensor."""
    if not isinstance(entry, dict):
        return f"its header does not say what `{name}` is"
    dtype, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if not isinstance(dtype, str) or dtype not in _BITS:
        return f"`{name}` is of a dtype that the format does not have: {str(dtype)[:20]}"
    if shape is None or offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        return f"its header does not say which shape and which bytes `{name}` has"
    needed, declared = math.prod(shape) * _BITS[dtype] // 8, offsets[1] - offsets[0]
    if needed != declared:
        shown = ", ".join(map(str, shape))
        return f"`{name}` is {dtype} [{shown}], {needed:,} bytes, and its header gives it {declared:,}"
    return None


def _sizes(value: Any) -> list[int] | None:
    return value if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value) else None
