"""Normalisations in onnxruntime: as its operator, or as their equations."""

from __future__ import annotations

from functools import partial

import nablac
from benchmarks.forms import Case, Choice
from compiler.graph import Graph
from compiler.targets import HIGHEST_OPSET

LAYERS = {"layer_normalization": "LayerNorm", "rms_normalization": "RMSNorm"}


def graph_of(layer: str, *shape: int) -> Graph:
    text = f"model M {{\n    input x: {list(shape)}\n    output x -> {layer}\n}}\n"
    return nablac.compile(text).elaborated


CHOICES = tuple(
    Choice(
        name,
        ("operator", "equations"),
        tuple(
            Case({"rows": rows, "width": width}, partial(graph_of, f"{layer}()", rows, width))
            for rows, width in ((1, 64), (1, 768), (32, 64), (128, 768), (1024, 256))
        ),
        opset=HIGHEST_OPSET,
    )
    for name, layer in LAYERS.items()
)
