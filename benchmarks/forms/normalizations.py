"""Normalisations in onnxruntime: as its operator, or as their equations."""

from __future__ import annotations

from functools import partial

from benchmarks.forms import Case, Choice, graph_of
from compiler.targets import HIGHEST_OPSET

LAYERS = {"layer_normalization": "LayerNorm", "rms_normalization": "RMSNorm"}


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
