"""A compiled model in Python: call it, save it, look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.build import Program, elaborate_model, program_of
from compiler.build import load as load_program
from compiler.graph import Graph
from compiler.lazy import LazyModule
from compiler.onnx.targets import LARGEST_FILE
from compiler.passes.pipeline import optimize
from compiler.types import DType
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Source
from runtime.backends import check_backend

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from compiler.types import Array
    from runtime.inputs import Signature
    from runtime.tables import TableCheck
else:
    np = LazyModule("numpy")


@dataclass(frozen=True, eq=False)
class Origin:
    """What a model was compiled from, to be elaborated again: for training, for gradients."""

    program: Program
    model: str
    preset: str | None
    hypers: Mapping[str, Any]
    training: bool
    dtype: DType


class Model:
    """A model with its weights, run by NumPy or by onnxruntime.

    `model(x=array)` gives a dict of arrays by output name. Weights are made from `seed` when they are first needed.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        hypers: Mapping[str, Any] | None = None,
        seed: int = 0,
        backend: str = "numpy",
        device: str = "cpu",
        origin: Origin | None = None,
        elaborated: Graph | None = None,
    ) -> None:
        check_backend(backend, device)
        self.graph = graph
        self.elaborated = elaborated if elaborated is not None else graph  # as the text has it: what passes begin from
        self._origin = origin
        self.hypers = dict(hypers or {})
        self.seed = seed
        self.backend = backend
        self.device = device
        self._weights: dict[str, Array] | None = None
        self._runner: Any = None

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def weights(self) -> dict[str, Array]:
        """Every parameter and buffer by path."""
        if self._weights is None:
            from runtime.initialization import initialize

            self._weights = initialize(self.graph, self.seed)
        return self._weights

    def load(self, path: str | Path, rename: str | Path | Iterable[str | Path] = ()) -> Model:
        """Take the weights from a `.safetensors` file; NablacError lists every entry that does not fit.

        `path` may be a folder with one such file, or with the `.safetensors.index.json` of several.
        `rename` is a rule as `"theirs -> ours"`, a file of such rules, or several of them.
        """
        from runtime.weights import load_weights, read_renames

        rules = [rename] if isinstance(rename, (str, Path)) else rename
        self._weights = load_weights(path, self.graph, read_renames(map(str, rules)))
        self._runner = None
        return self

    def save(self, path: str | Path) -> None:
        """Write the weights to a `.safetensors` file."""
        from runtime.weights import save_weights

        save_weights(path, self.weights)

    def __call__(self, **inputs: Any) -> dict[str, Array]:
        """Run the model on arrays by input name; NablacError where one is missing or does not fit."""
        from runtime.tables import outside_of_table

        arrays, sizes = self._signature.check(self._seeded(inputs), held=self.weights)
        self._tables.check(arrays, sizes)
        try:
            return self._run(arrays, sizes)
        except NablacError as error:
            if [each.code for each in error.diagnostics] != ["E806"]:
                raise
            raise outside_of_table(self.graph, arrays, sizes, error) or error from None

    def _run(self, feeds: Mapping[str, Array], sizes: dict[str, int]) -> dict[str, Array]:
        from compiler.onnx.exporter import end_names

        if self.backend == "numpy":
            if self._runner is None:
                from runtime.numpy_executor import NumpyRunner

                self._runner = NumpyRunner(self.graph, self.weights)
            results: dict[str, Array] = self._runner.run_checked(feeds, sizes)
        else:
            if self._runner is None:
                from runtime.onnx_session import OnnxRunner

                self._runner = OnnxRunner(self.onnx().SerializeToString(), device=self.device)
            made = self._runner.run({name: feeds[name] for name in self.graph.inputs})
            results = {ours: made[name] for ours, name in zip(self.graph.outputs, end_names(self.graph), strict=False)}
        return {name: results[name] for name in self.graph.outputs}

    @cached_property
    def _signature(self) -> Signature:
        from runtime.inputs import Signature

        return Signature.of(self.graph)

    @cached_property
    def _tables(self) -> TableCheck:
        from runtime.tables import TableCheck

        return TableCheck(self.graph)

    def onnx(
        self,
        opset: int | None = None,
        metadata: Mapping[str, str] | None = None,
        *,
        largest: int = LARGEST_FILE,
    ) -> onnx.ModelProto:
        """The model as ONNX, and what the file is to say of itself.

        Weights are inside; those of more than `largest` bytes are only referred to.
        """
        from compiler.onnx.exporter import export
        from runtime.tables import table_metadata

        metadata = {"nablac.model": self.name, **table_metadata(self.graph), **(metadata or {})}
        return export(self.graph, opset=opset, weights=self.weights, metadata=metadata, largest=largest)

    def to_onnx(
        self, path: str | Path, opset: int | None = None, metadata: Mapping[str, str] | None = None
    ) -> list[Path]:
        """Write the model to an ONNX file, whole or not at all; weights beyond 2 GiB to a second file beside it.

        The files written, the model's own first.
        """
        from runtime.onnx_file import save

        return save(self.onnx(opset, metadata, largest=0), path, self.weights)

    def summary(self, **sizes: int) -> str:
        """Layers, output shapes, parameters, operations and memory as text."""
        from nablac.summary import render_summary, summarize

        return render_summary(summarize(self.graph, sizes))

    def train(
        self,
        data: Mapping[str, Array] | None = None,
        *,
        folder: str | Path | None = None,
        resume: bool = False,
        **options: Any,
    ) -> dict[str, list[float]]:
        """Train as the train block says, on its data or on arrays by the names of inputs and targets.

        `options` are those of `nablac train`: epochs, batch, validation, patience, seed, backend, device and so on.
        What it leaves behind goes to `folder`; with `resume` it goes on with the run that is there already.
        The model has the best weights afterwards. The history by Keras's keys; NablacError where training cannot go on.
        """
        from runtime.data.arrays import from_arrays
        from runtime.data.fitted import read_fitted
        from runtime.training.folder import RunFolder
        from runtime.training.not_finite import NotFinite, explain_not_finite
        from runtime.training.session import Options, Training

        origin = self._source()
        chosen = Options(**{"backend": self.backend, "device": self.device, "seed": self.seed, **options})
        training = Training(
            origin.program, origin.model, origin.preset, origin.hypers, chosen, self._weights, dtype=origin.dtype
        )
        if data is not None:
            training.examples = from_arrays({name: np.asarray(each) for name, each in data.items()}, "data")
        run = None
        if folder is not None and resume:
            training.fitted = read_fitted(Path(folder))
            run = RunFolder.existing(Path(folder), training)
        loop = training.loop(run.checkpoints if run is not None else None, resume)
        if folder is not None and not resume:
            run = RunFolder.begin(Path(folder), training, loop)
        if run is not None:
            loop.events.epoch = run.epoch
        try:
            loop.run()
        except NotFinite as error:
            raise explain_not_finite(training, loop, error) from error
        self._weights = training.model_weights(loop.best or loop.stepper.state())
        self._runner = None
        if run is not None:
            run.finish(training, self._weights)
        return loop.position.history

    def gradient(self, wrt: str | Iterable[str] = "*", *, second: bool = False) -> Model:
        """The model whose outputs are the loss and `grad.<name>` of parameters and float inputs called like `wrt`.

        With `second` it also takes `along.<name>`, and gives `hvp.<name>`: the Hessian times that vector.
        """
        from compiler.training import gradient_graph
        from runtime.initialization import stored

        origin = self._source()
        elaborated = elaborate_model(
            origin.program,
            model=origin.model,
            preset=origin.preset,
            hypers=origin.hypers,
            training=origin.training,
            dtype=origin.dtype,
        )
        graph = gradient_graph(elaborated, [wrt] if isinstance(wrt, str) else wrt, second=second)
        made = Model(optimize(graph), hypers=self.hypers, seed=self.seed, backend=self.backend, device=self.device)
        made._weights = {op.path: self.weights[op.path] for op in stored(made.graph)}
        return made

    def _source(self) -> Origin:
        if self._origin is None:
            raise NablacError(Diagnostic("E612", f"{self.name} was not compiled from a text", place=self.name))
        return self._origin

    def _seeded(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Draws of a model that has some come from the model's seed, unless `seed` is given."""
        if "seed" in self.graph.inputs and "seed" not in inputs:
            return {**inputs, "seed": self.seed}
        return dict(inputs)

    def _repr_html_(self) -> str:
        """For notebooks: the model drawn by layers, and its summary."""
        from html import escape

        return f"{self.draw()}<pre>{escape(self.summary())}</pre>"

    def draw(self, depth: int | None = None) -> str:
        """The model as SVG, its layers open `depth` deep; about 40 boxes where that is left open."""
        from nablac.drawing.outline import close_below, outline, readable_depth
        from nablac.drawing.svg import svg

        whole = outline(self.elaborated)  # as it was written: fused operators have lost their layers
        return svg(close_below(whole, readable_depth(whole) if depth is None else depth), self.name)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {value.type}" for name, value in self.graph.inputs.items())
        outputs = ", ".join(f"{name}: {value.type}" for name, value in self.graph.outputs.items())
        return f"<Model {self.name}({inputs}) -> {outputs}>"


def compile(
    path_or_text: str | Path,
    *,
    model: str | None = None,
    preset: str | None = None,
    seed: int = 0,
    dtype: Any = "f32",
    training: bool = False,
    backend: str = "numpy",
    device: str = "cpu",
    **hypers: Any,
) -> Model:
    """Compile a `.model` file, or the text of one, to a model ready to be called.

    NablacError holds every mistake in the text. `dtype` is a float type by its name here or NumPy's. `hypers` override
    the model's hyperparameters; a text is read as the language reads it.
    """
    text = str(path_or_text)
    is_text = isinstance(path_or_text, str) and ("\n" in text or "{" in text or not text.strip())
    program = program_of(Source("<text>", text)) if is_text else load_program(text)
    return from_program(
        program,
        model=model,
        preset=preset,
        hypers={name: _plain(value) for name, value in hypers.items()},
        seed=seed,
        dtype=dtype,
        training=training,
        backend=backend,
        device=device,
    )


def load(
    path: str | Path, weights: str | Path, rename: str | Path | Iterable[str | Path] = (), **settings: Any
) -> Model:
    """Compile a `.model` file and take its weights from a `.safetensors` file, as `Model.load` does."""
    return compile(path, **settings).load(weights, rename)


def float_type(given: Any) -> DType:
    """The float type of that name, or of NumPy's dtype; NablacError for what is none."""
    try:
        name = given if isinstance(given, str) else str(np.dtype(given))
    except TypeError:
        name = type(given).__name__
    known = {each.numpy.name: each for each in DType if each.is_float} if name not in set(DType) else {}
    found = known.get(name, name)
    if found not in set(DType) or not DType(found).is_float:
        floats = ", ".join(f"`{each}`" for each in DType if each.is_float)
        message = f"`{name}` is no float type" if found in set(DType) else f"there is no dtype `{name}`"
        raise NablacError(Diagnostic("E211", message, place="dtype", hint=f"the float types are {floats}"))
    return DType(found)


def _plain(value: Any) -> Any:
    """A value as the language has it: NumPy's numbers and arrays as Python's, tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def from_program(
    program: Program,
    *,
    model: str | None = None,
    preset: str | None = None,
    hypers: Mapping[str, Any] | None = None,
    seed: int = 0,
    dtype: Any = "f32",
    training: bool = False,
    backend: str = "numpy",
    device: str = "cpu",
) -> Model:
    """The optimised model of a program that is read already."""
    kind = float_type(dtype)
    elaborated = elaborate_model(program, model=model, preset=preset, hypers=hypers, training=training, dtype=kind)
    origin = Origin(program, elaborated.graph.name, preset, dict(hypers or {}), training, kind)
    return Model(
        optimize(elaborated.graph),
        hypers=elaborated.hypers,
        seed=seed,
        backend=backend,
        device=device,
        origin=origin,
        elaborated=elaborated.graph,
    )
