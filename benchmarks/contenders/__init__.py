"""Who is compared: one module for each library, imported in a process of its own.

A module has `import_packages(variant)`, which imports all that the contender needs and nothing else, by a step of the
smallest network where imports are done late. Its other functions build what is measured from a `Job`: `training` (a
step that gives its loss), `inference` (a call that gives the output), `gradient` (the loss and all gradients; gives the
loss) and `generation` (gives the new tokens). They raise `NotWritten` for a case that they lack. A module of
`benchmarks.forecasting` has one function `forecasts` instead: from the folder of its tables to forecasts by station.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.cases import CASES
from benchmarks.models import Case

WEIGHTS = "weights.safetensors"  # in a job's folder: our weights by path


class NotWritten(Exception):
    """The contender has no writing of this case."""


@dataclass(frozen=True)
class Contender:
    """A column of a table: its module, which way of that module it is, and the packages that have to be installed."""

    module: str
    variant: str = ""
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package in self.packages if importlib.util.find_spec(package) is None]

    def load(self) -> ModuleType:
        """The module; what it compares is imported by its `import_packages`."""
        return importlib.import_module(f"benchmarks.contenders.{self.module}")


@dataclass(frozen=True)
class Job:
    """What a contender is to build: a case with its files, in a folder that `preparation` has filled."""

    case: str
    work: str  # "training", "inference", "gradient", or "generation" and the number of tokens
    contender: str
    threads: int
    folder: Path

    def network(self) -> Case:
        """The case."""
        return CASES[self.case]()

    @property
    def variant(self) -> str:
        """Which way of its module the contender is."""
        return CONTENDERS[self.contender].variant

    def weights(self) -> dict[str, np.ndarray]:
        """Our weights by path."""
        from safetensors.numpy import load_file

        return load_file(self.folder / WEIGHTS)

    def feeds(self) -> dict[str, np.ndarray]:
        """The inputs, and the target if the case is trained."""
        return self.network().feeds(np.random.default_rng(0))


CONTENDERS: dict[str, Contender] = {
    "nablac ort": Contender("ours", "ort"),
    "nablac ort, no jit": Contender("ours", "ort plain"),
    "nablac numpy": Contender("ours", "numpy"),
    "nablac ort, cache": Contender("our_generation", "ort"),
    "nablac numpy, cache": Contender("our_generation", "numpy"),
    "torch": Contender("torch_eager", "fused", ("torch",)),
    "torch, default Adam": Contender("torch_eager", "default", ("torch",)),
    "torch.compile": Contender("torch_eager", "compiled", ("torch",)),
    "torch.onnx": Contender("onnx_files", "torch.onnx", ("torch", "onnxscript")),
    "torch.onnx + onnxsim": Contender("onnx_files", "onnxsim", ("torch", "onnxscript", "onnxsim")),
    "keras on jax": Contender("keras_jax", "", ("keras", "jax")),
    "ReferenceEvaluator": Contender("onnx_files", "reference"),
    "NumPy by hand": Contender("numpy_by_hand"),
    "nablac ort, no cache": Contender("our_generation", "ort uncached"),
    "transformers": Contender("hugging_face", "dynamic", ("torch", "transformers")),
    "transformers, static compiled cache": Contender("hugging_face", "static", ("torch", "transformers")),
    "onnx-ad": Contender("onnx_files", "onnx-ad", ("onnx_ad",)),
    "nablac dense": Contender("our_forecasts", "load"),
    "nablac GRU": Contender("our_forecasts", "load_gru"),
    "same hour yesterday": Contender("naive_forecasts", "24"),
    "same hour last week": Contender("naive_forecasts", "168"),
    "neuralforecast NHITS": Contender("neural_forecasts", "NHITS", ("neuralforecast",)),
    "neuralforecast NHITS, covariates": Contender("neural_forecasts", "NHITS covariates", ("neuralforecast",)),
    "neuralforecast NBEATS": Contender("neural_forecasts", "NBEATS", ("neuralforecast",)),
    "neuralforecast LSTM, covariates": Contender("neural_forecasts", "LSTM covariates", ("neuralforecast",)),
    "darts TiDE, covariates": Contender("darts_forecasts", "TiDEModel", ("darts",)),
    "darts linear regression, covariates": Contender("darts_forecasts", "LinearRegressionModel", ("darts",)),
}
OURS = tuple(name for name in CONTENDERS if name.startswith("nablac"))
INSTALL = (
    "pip install torch==2.13.0\n"
    "  pip install -e '.[jit]' darts jax keras neuralforecast onnx-ad onnxscript onnxsim onnxslim transformers"
)
