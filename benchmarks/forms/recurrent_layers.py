"""An LSTM, a GRU and a simple recurrence, with as many features as units: as an operator or as a Scan."""

from __future__ import annotations

from functools import partial

from benchmarks.forms import Case, Choice, graph_of
from compiler.targets import NUMPY, ORT_CPU

LAYERS = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
# Steps, batch, units
SIZES = (
    *((8, 1, 8), (8, 1, 32), (32, 1, 64), (32, 1, 256)),
    *((8, 8, 8), (32, 8, 32), (32, 8, 128)),
    *((32, 32, 8), (32, 32, 32), (32, 32, 128), (64, 32, 256)),
)


CHOICES = tuple(
    Choice(
        name,
        ("operator", "scan"),
        tuple(
            Case(
                {"steps": steps, "batch": batch, "hidden": hidden},
                partial(graph_of, f"{layer}({hidden}, sequences: true)", "batch", "steps", hidden),
            )
            for steps, batch, hidden in SIZES
        ),
        targets=(ORT_CPU, NUMPY),
    )
    for name, layer in LAYERS.items()
)
