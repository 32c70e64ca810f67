"""The Python interface: a compiled model that runs, trains, saves and draws itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Never

from compiler.graph import Graph
from compiler.lazy import LazyModule
from compiler.model_spec import ModelSource, ModelSpec, SpecSource
from compiler.passes.pipeline import optimize
from compiler.targets import LARGEST_FILE, NUMPY, ORT_CPU, Target, target_named
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from nablac.arguments import check_path, patterns_of
from nablac.trainable_model import TrainableModel
from nablac.user_warnings import warn_user
from runtime.backends import check_backend

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from compiler.passes.known_weights import KnownWeights
    from compiler.types import Array
    from compiler.units import Unit
    from nablac.evaluating import Split
    from nablac.model_runner import ModelRunner
    from runtime.data.fitted import Fitted
    from runtime.data.recipe import Recipe
    from runtime.prediction.predictions import Predictions
    from runtime.profiling.profile_text import ModelProfile
    from runtime.profiling.workload import Workload
    from runtime.signature import Signature
    from runtime.table_lookups import TableCheck
    from runtime.training.trained import Trained
else:
    np = LazyModule("numpy")

Metadata = Mapping[str, str] | None


class Model(TrainableModel):
    """A model with its weights, run by NumPy or by onnxruntime.

    `model(x=array)` returns a dict of arrays by output name, and updates the buffers. Initial weights are drawn from
    `seed` when they are first needed. A trained model takes and returns values in the units of its data.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        seed: int = 0,
        backend: str = "numpy",
        device: str = "cpu",
        source: ModelSource | None = None,
        training: bool = False,
        folder: Path | None = None,
    ) -> None:
        """A model of a spec; `source` has its specs for training and inference, `training` says which one `spec` is.

        Relative data paths of the train block start at `folder`, by default the folder of the text.
        """
        check_backend(backend, device)
        self.spec = spec  # in the units of training
        self.elaborated = spec.graph  # before any pass
        self.hypers = dict(spec.hypers)
        self.seed = seed
        self.backend = backend
        self.device = device
        self._source = source or SpecSource(spec)
        self._training = training
        self._folder = folder
        self._weights: dict[str, Array] | None = None
        self._trained: Trained | None = None  # weights that were loaded or trained, with their scalings
        self._split: Split | None = None  # of the data that it was trained on, where that is known
        self._handed_out = False  # whether a caller has the arrays, and may change them in place
        # By the names of the weights that calls feed: those that feed none, and the last that did.
        self._runners: dict[tuple[str, ...], ModelRunner] = {}

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.elaborated.name

    @property
    def weights(self) -> dict[str, Array]:
        """All parameters and buffers by path, including those that only the loss reads.

        NablacError for another array that does not fit: by its path, its shape, or its kind of numbers.
        An array that takes the place of another counts from the next call on. One that is changed in place does so on
        the NumPy backend, which from now on computes nothing from weights before a call.
        """
        if not self._handed_out:
            self._handed_out = True
            self._runners.clear()
        return self.read_weights()

    def read_weights(self) -> dict[str, Array]:
        """The contents of `weights`, for a caller that changes none of them."""
        if self._weights is None:
            from compiler.training.losses import whole_graph
            from nablac.model_weights import ModelWeights
            from runtime.initialization import initialize

            trained = self._trained.weights if self._trained is not None else {}
            drawn = initialize(whole_graph(self.spec), self.seed, trained)
            self._weights = ModelWeights(self.name, {**trained, **drawn})
        return self._weights

    def draw_weights(self) -> Mapping[str, Array]:
        """The contents of `weights`, for a caller that reads each once: initial values are drawn when they are read."""
        if self._weights is not None:
            return self._weights
        from compiler.training.losses import whole_graph
        from runtime.initialization import InitialWeights

        trained = self._trained.weights if self._trained is not None else {}
        return InitialWeights(whole_graph(self.spec), self.seed, trained)

    @property
    def units(self) -> dict[str, Unit]:
        """The units of each output of a model that was trained on scaled data; empty for any other model."""
        if self.fitted is None:
            return {}
        from runtime.training.trained import units_in

        return units_in(self.spec, self.fitted)

    @property
    def fitted(self) -> Fitted | None:
        """What was fitted to the training data: scalings, classes, a tokenizer; None if the weights record nothing."""
        return self._trained.fitted if self._trained is not None else None

    @property
    def recipe(self) -> Recipe | None:
        """What is known of the data that the model was trained on; None where the weights say nothing of it."""
        from runtime.data.recipe import recipe_of

        return recipe_of(self.spec, self.fitted)

    @cached_property
    def graph(self) -> Graph:
        """The graph that is written to a file by default, and that onnxruntime runs."""
        return optimize(self.elaborated)

    @property
    def is_drawn(self) -> bool:
        """Whether the weights are initial values, neither loaded nor trained."""
        return self._trained is None

    def _take(self, trained: Trained) -> Model:
        """Take the weights and units of a trained model; returns this model."""
        from runtime.training.trained import raw_graph

        self._trained, self._weights, self._handed_out = trained, None, False
        self._runners.clear()
        self.elaborated = raw_graph(self.spec, trained.fitted)
        self.__dict__.pop("graph", None)
        self.__dict__.pop("_signature", None)
        self.__dict__.pop("_looked_up", None)
        return self

    def load(
        self,
        path: str | Path,
        rename: str | Path | Iterable[str | Path] = (),
        say: Callable[[str], object] = warn_user,
        *,
        fresh: str | Iterable[str] = (),
    ) -> Model:
        """Load weights from a `.safetensors`, `.npz` or `.onnx` file; NablacError lists all entries that do not fit.

        `path` may be a folder with one such file, or with the `.safetensors.index.json` of several.
        `rename` is a rule such as `"theirs -> ours"`, a file of such rules, the name of one that comes with the library
        (`"pytorch"`), or several of them. Parameters whose path matches a pattern in `fresh` start new instead.
        If the weights were trained on scaled data, the model works in the units of that data from then on.
        `say` is called with a note on rules that match no entry.
        """
        from compiler.training.losses import whole_graph
        from runtime.training.trained import load_trained
        from runtime.weights import read_renames

        check_path(path, "path")
        rules = [rename] if isinstance(rename, (str, Path)) else rename
        renames = read_renames(map(str, rules))

        def in_training() -> Graph:
            return whole_graph(self._source.spec(training=True))

        patterns = [fresh] if isinstance(fresh, str) else list(fresh)
        trained = load_trained(path, self.spec, renames, in_training=in_training, fresh=patterns, say=say)
        return self._take(trained)

    def save(self, path: str | Path) -> None:
        """Write the weights to a `.safetensors` file, with the scalings that they were trained with."""
        from grammar.file_kinds import SAFETENSORS
        from runtime.outputs import check_output
        from runtime.training.trained import Trained, save_trained

        check_path(path, "path")
        check_output(path, SAFETENSORS)
        step = self._trained.step if self._trained is not None else None
        save_trained(path, Trained(self.read_weights(), self.fitted, step))

    def __call__(self, *unnamed: Never, **inputs: Any) -> dict[str, Array]:
        """Run the model on arrays by input name; NablacError if one is missing or does not fit."""
        from runtime.stopped import StoppedByData
        from runtime.table_lookups import outside_of_table

        if unnamed:
            raise self._signature.not_by_name(len(unnamed))
        arrays, sizes = self._signature.check(self._seeded(inputs), checked=self.read_weights())
        self._tables.check(arrays, sizes)
        try:
            return self._run(arrays, sizes)
        except StoppedByData as error:
            raise outside_of_table(self.graph, arrays, sizes, error) or error from None

    def predict(
        self,
        *inputs: str | PathLike[str] | Mapping[str, Any] | Any,
        steps: int | None = None,
        all: bool = False,
        keep: Literal["other", "all", "none"] = "other",
        column: str | None = None,
        outputs: Sequence[str] = (),
        separator: str | None = None,
        decimal: str | None = None,
        header: bool | None = None,
        thousands: str | None = None,
        skip_broken: bool = False,
        **unknown: Never,
    ) -> Predictions:
        """Predict for tables, images or texts: names of files, or columns by name (a dict, a data frame).

        Of a series, `steps` rows are forecast, by default as many as at once, and with `all` the whole past is
        predicted too. `keep` says which columns of a table stay beside the predictions, `column` which one holds texts;
        `outputs` of the model are added unchanged. `separator`, `decimal` sign, sign between `thousands` and `header`
        are those of CSV files, by default as in training. NablacError for what cannot be read, or is of another kind
        than the training data.
        """
        from nablac.predicting import predictions

        options = {
            "steps": steps,
            "all": all,
            "keep": keep,
            "column": column,
            "outputs": tuple(outputs),
            "separator": separator,
            "decimal": decimal,
            "header": header,
            "thousands": thousands,
        }
        return predictions(self, inputs, skip_broken, {**options, **unknown})

    def _run(self, feeds: Mapping[str, Array], sizes: dict[str, int]) -> dict[str, Array]:
        from nablac.model_runner import ModelRunner

        weights = self.read_weights()
        fed_weights = tuple(name for name in feeds if name not in self.graph.inputs)
        runner = self._runners.get(fed_weights)
        if runner is None or not runner.is_current(weights):
            runner = ModelRunner(
                self._graph_to_run(), weights, self.backend, self.device, fed_weights, live=self._handed_out
            )
            unfed = {key: kept for key, kept in self._runners.items() if not key}
            self._runners = {**unfed, fed_weights: runner}
        outputs, updates = runner.run(feeds, sizes, weights)
        dict.update(weights, updates)  # which fit
        return outputs

    @cached_property
    def _signature(self) -> Signature:
        from runtime.signature import Signature

        return Signature.of(self.elaborated)

    @cached_property
    def _tables(self) -> TableCheck:
        from runtime.table_lookups import TableCheck

        return TableCheck(self.graph)

    @property
    def metadata(self) -> dict[str, str]:
        """What an ONNX file of the model says of its data: units, a tokenizer, the recipe."""
        from runtime.training.trained import model_metadata

        return model_metadata(self.spec, self.fitted)

    def onnx(
        self,
        opset: int | None = None,
        metadata: Metadata = None,
        *,
        largest: int = LARGEST_FILE,
        keep_weights: bool = False,
        target: str | Target = ORT_CPU,
    ) -> onnx.ModelProto:
        """The model as ONNX for a target, with `metadata` added to its own.

        `target` is a target of `nablac compile`, or its name: it decides the opset and which operators are used. What
        depends on weights alone is stored computed, and its docstring names the weights that it comes from; with
        `keep_weights` all are stored by their names. Those of more than `largest` bytes are only referred to.
        """
        from compiler.onnx.exporter import export

        known = self.for_target(target, keep_weights=keep_weights)
        metadata = {**self.metadata, **(metadata or {})}
        target = target_named(target)
        return export(
            known.graph, opset=opset, weights=known.weights, metadata=metadata, largest=largest, target=target
        )

    def for_target(
        self,
        target: str | Target = ORT_CPU,
        *,
        keep_weights: bool = False,
        weights: Mapping[str, Array] | None = None,
    ) -> KnownWeights:
        """The graph optimised for a target, with its weights; what depends on weights alone is one of them.

        With `keep_weights` all are there by their names. `weights` take the place of those that the model keeps.
        """
        from compiler.passes.known_weights import with_known_weights

        target = target_named(target)
        graph = self.graph if target is ORT_CPU else optimize(self.elaborated, target)
        return with_known_weights(graph, self.read_weights() if weights is None else weights, target, keep=keep_weights)

    def to_onnx(
        self,
        path: str | Path,
        opset: int | None = None,
        metadata: Metadata = None,
        *,
        keep_weights: bool = False,
        target: str | Target = ORT_CPU,
        quantize: str | None = None,
        exclude: Iterable[str] = (),
    ) -> list[Path]:
        """Write the model to an ONNX file atomically; returns the files: its own, then that of weights beyond 2 GiB.

        With `quantize`, int8 or int4, weights are stored as integers, but for those whose paths match a pattern in
        `exclude`.
        """
        from compiler.onnx.exporter import export
        from compiler.passes.quantize import check_excluded
        from compiler.passes.quantize import quantize as quantized
        from compiler.quantization_schemes import uncalibrated
        from grammar.file_kinds import ONNX
        from runtime.onnx_file import save
        from runtime.outputs import check_output

        check_path(path, "path")
        check_output(path, ONNX)
        metadata, target = {**self.metadata, **(metadata or {})}, target_named(target)
        choices = uncalibrated(quantize, tuple(exclude), target, keep_weights) if quantize is not None else None
        known = self.for_target(target, keep_weights=keep_weights, weights=self.draw_weights())
        if choices is not None:
            check_excluded(choices, {*known.weights, *known.sources})
            integers = quantized(known, choices)
            if not integers.converted and not choices.excluded:
                message = "no weight of the model becomes an integer"
                hint = "integers take the place of matrices of at least 256 numbers in f32"
                raise NablacError(Diagnostic(codes.E918, message, place=self.name, hint=hint))
            known = integers.known
        proto = export(known.graph, opset=opset, weights=known.weights, metadata=metadata, largest=0, target=target)
        return save(proto, path, known.weights)

    def workload(self, sizes: Mapping[str, int], *, keep_weights: bool = False) -> Workload:
        """Calls of the model on random inputs at these sizes of named dims, to be measured; its weights stay.

        With `keep_weights` nothing is computed from weights beforehand. NablacError for a size that no input has.
        """
        from nablac.workloads import inference

        return inference(
            self.elaborated,
            self._graph_to_run(),
            self.read_weights(),
            sizes,
            backend=self.backend,
            device=self.device,
            seed=self.seed,
            keep_weights=keep_weights,
        )

    def _graph_to_run(self) -> Graph:
        return optimize(self.elaborated, NUMPY) if self.backend == "numpy" else self.graph

    def profile(self, *, runs: int = 20, **sizes: int) -> ModelProfile:
        """Where the time of `runs` calls goes, on random inputs at these sizes of named dims, on the model's backend.

        Printed, it shows the tables of `nablac profile`. NablacError for a size that no input has.
        """
        from runtime.profiling.profiler import profile

        return profile(lambda: self.workload(sizes), runs)

    def gradient(self, wrt: str | Iterable[str] = "*", *, second: bool = False, training: bool | None = None) -> Model:
        """A model that returns the loss, and `grad.<name>` for the parameters and float inputs that match `wrt`.

        For a trained model the batch is in raw units. With `second` it also takes `along.<name>` and returns
        `hvp.<name>`: the Hessian times that vector.

        With `training` the gradient is the one that the model is trained with, with dropout and the statistics of the
        batch, else that of the loss in inference mode, where running statistics are constants; None for the mode that
        the model was compiled in, which is inference unless `compile` was told otherwise.
        """
        from compiler.training.gradients import gradient_graph
        from nablac.model_weights import ModelWeights
        from runtime.initialization import initialize
        from runtime.training.trained import in_raw_data

        spec = in_raw_data(self._source.spec(training=self._training if training is None else training), self.fitted)
        graph = gradient_graph(spec, patterns_of(wrt), second=second)
        differentiated = Model(
            ModelSpec(graph, self.hypers, mode=spec.mode), seed=self.seed, backend=self.backend, device=self.device
        )
        weights = initialize(differentiated.graph, self.seed, self.read_weights())
        differentiated._weights = ModelWeights(differentiated.name, weights)
        return differentiated

    def _seeded(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with the model's seed, if the model makes random draws and `seed` is not among them."""
        if "seed" in self.elaborated.inputs and "seed" not in inputs:
            return {**inputs, "seed": self.seed}
        return dict(inputs)
