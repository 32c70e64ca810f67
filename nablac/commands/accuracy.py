"""A compiled file in smaller numbers beside the same model in those that it was trained in: bytes, figures and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypedDict

import click

from nablac.commands.model_options import ModelOptions
from nablac.commands.output import note
from nablac.commands.runs import DATA, read_run

if TYPE_CHECKING:
    from compiler.passes.known_weights import KnownWeights
    from runtime.evaluation.evaluation import EvaluationSettings
    from runtime.prediction.predictor import Predictor
    from runtime.training.training_run import Training

_HELD_OUT_PARTS = ("validation", "test")  # parts, of which the first that has examples is taken
Run = Callable[[dict[str, Any]], dict[str, Any]]


class FigureJson(TypedDict):
    """A figure of both files."""

    before: Annotated[float, "in the numbers that the model was trained in"]
    after: Annotated[float, "of the written file"]


class AccuracyJson(TypedDict):
    """A file in smaller numbers, beside the same model in those that it was trained in."""

    bytes_before: Annotated[int, "of the file in those that it was trained in"]
    bytes_after: Annotated[int, "of the written one"]
    part: Annotated[str | None, "of the data of the run, on which both were judged; null without such data"]
    figures: Annotated[dict[str, FigureJson], "by name"]
    examples: NotRequired[Annotated[int, "in the part"]]
    seconds_before: NotRequired[Annotated[float, "of the processor, for the part; of files that onnxruntime runs here"]]
    seconds_after: NotRequired[Annotated[float, "by the written one"]]


@dataclass(frozen=True)
class RunEvaluator:
    """The data of a run, by which a compiled model is calibrated and evaluated."""

    training: Training
    predictor: Predictor
    settings: EvaluationSettings

    @staticmethod
    def of(options: ModelOptions, data: str | None = None) -> RunEvaluator | None:
        """That of a run, or of a spec with trained weights, on its own data or other; None if there is no data."""
        from nablac.commands.training_setup import set_up_training
        from runtime.evaluation.evaluation import EvaluationSettings
        from runtime.evaluation.part_outputs import predictor_of_training
        from runtime.training.run_options import Options

        if not options.is_run and data is None:
            return None
        run_options, model = Options(), options
        if options.is_run:
            model, run_options = trained_options(options), read_run(options.file).recorded_options(run_options, DATA)
        if data is not None:
            run_options = replace(run_options, data=data, undivided=True)
        training = set_up_training(model, run_options, evaluated=True)
        training.keeps_raw = True
        training.data  # noqa: B018 - reads it
        from compiler.target_uses import target_uses

        measured = target_uses(training.spec.loss, training.spec.targets).measured
        settings = EvaluationSettings(training.batch, training.padding, measured)
        return RunEvaluator(training, predictor_of_training(training), settings)

    def figures(self, part: str, run: Run) -> tuple[dict[str, float], float]:
        """The figures of a model on a part of the data, and the seconds of processor time that it ran."""
        from runtime.evaluation.evaluation import evaluate
        from runtime.evaluation.key_figures import key_figures

        spent = 0.0

        def timed(feeds: dict[str, Any]) -> dict[str, Any]:
            nonlocal spent
            begun = time.process_time()
            results = run(feeds)
            spent += time.process_time() - begun
            return results

        evaluation = evaluate(replace(self.predictor, run=timed), self.training.data, part, self.settings)
        return key_figures(evaluation), spent

    def part(self) -> str | None:
        """The part to evaluate; None where no examples are held out."""
        parts = self.training.data.parts
        return next((name for name in _HELD_OUT_PARTS if len(parts[name])), None)


def trained_options(options: ModelOptions) -> ModelOptions:
    """The options of a run's model in the float type that it was trained in, whatever `--dtype` says."""
    run = read_run(options.file)
    return replace(run.model(options), dtype=run.record.choices.dtype)


def is_converted(options: ModelOptions) -> bool:
    """Whether the options ask for a run's model in another float type than it was trained in."""
    if not options.is_run:
        return False
    run = read_run(options.file)
    return run.model(options).dtype != run.record.choices.dtype


def comparison(
    options: ModelOptions, before: tuple[KnownWeights, Path], after: tuple[KnownWeights, Path]
) -> AccuracyJson:
    """The bytes of two files, and the figures and times of both on the held-out data of a run, for `--json`.

    Each is a file with what it was written from, which the NumPy runtime runs where onnxruntime lacks a kernel.
    """
    sizes = before[1].stat().st_size, after[1].stat().st_size
    evaluator = RunEvaluator.of(options)
    part = evaluator.part() if evaluator is not None else None
    if evaluator is None or part is None:
        return AccuracyJson(bytes_before=sizes[0], bytes_after=sizes[1], part=None, figures={})
    (old_run, old_is_file), (new_run, new_is_file) = _runner(*before), _runner(*after)
    (old, old_first), (new, new_first) = (evaluator.figures(part, run) for run in (old_run, new_run))
    facts = AccuracyJson(
        bytes_before=sizes[0],
        bytes_after=sizes[1],
        part=part,
        figures={name: FigureJson(before=old[name], after=new[name]) for name in old if name in new},
        examples=len(evaluator.training.data.parts[part]),
    )
    if old_is_file and new_is_file:  # the first to run is slowed down by what is not yet in the caches
        facts["seconds_before"] = min(old_first, evaluator.figures(part, old_run)[1])
        facts["seconds_after"] = min(new_first, evaluator.figures(part, new_run)[1])
    return facts


def _runner(known: KnownWeights, file: Path) -> tuple[Run, bool]:
    """What runs a model, with feeds and results in f32 for floats of another type; whether it is onnxruntime."""
    import numpy as np

    from compiler.types import DType
    from runtime.numpy_executor import NumpyRunner
    from runtime.onnx_session import KernelMissing, OnnxRunner

    types = {name: value.type.dtype for name, value in known.graph.inputs.items()}
    results = {name: value.type.dtype for name, value in known.graph.outputs.items()}
    narrow = {name for name, dtype in (types | results).items() if dtype.is_float and dtype is not DType.F32}
    runner: OnnxRunner | NumpyRunner
    try:
        runner = OnnxRunner(file)
    except KernelMissing:
        runner = NumpyRunner(known.graph, known.weights)

    def run(feeds: dict[str, Any]) -> dict[str, Any]:
        arrays = {name: np.asarray(feeds[name]) for name in types if name in feeds}
        with np.errstate(over="ignore"):  # a number beyond the range of f16 is infinite, as it would be for a user
            arrays = {
                name: array.astype(types[name].numpy) if name in narrow else array for name, array in arrays.items()
            }
        outputs = runner.run(arrays)
        return {name: array.astype(np.float32) if name in narrow else array for name, array in outputs.items()}

    return run, isinstance(runner, OnnxRunner)


def say_comparison(facts: AccuracyJson) -> None:
    """The figures and the times of a comparison, for a reader."""
    if facts["part"] is None:
        note("the accuracy was not measured: only a run has data that is held out; name its folder")
        return
    width = max(map(len, facts["figures"]), default=0)
    click.echo(f"  on {facts['examples']:,} examples ({facts['part']})")
    for name, pair in facts["figures"].items():
        click.echo(f"    {name:<{width}} {pair['before']:.6g} before, {pair['after']:.6g} after")
    if "seconds_before" in facts:
        old, new = facts["seconds_before"], facts["seconds_after"]
        click.echo(f"    {'processor time':<{width}} {old * 1e3:.1f} ms before, {new * 1e3:.1f} ms after")
    else:
        note("onnxruntime on this machine has no kernels for this float type: the NumPy runtime computed the figures")
