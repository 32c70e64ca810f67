"""What `nablac compile --quantize` adds: its options, the integers in place of floats, and what they cost and gain."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypedDict, TypeVar

import click

from compiler.quantization_schemes import SCHEMES, Choices
from nablac.commands.options import FileOptions, ModelOptions
from nablac.commands.output import note, stage
from nablac.commands.runs import DATA, read_run

if TYPE_CHECKING:
    from compiler.passes.known_weights import KnownWeights
    from compiler.passes.quantize import Quantized
    from runtime.evaluation.evaluation import Judging
    from runtime.prediction.predictor import Predictor
    from runtime.training.training_run import Training

F = TypeVar("F", bound=Callable[..., Any])
_ENOUGH = 512  # examples to calibrate with
_JUDGED = ("validation", "test")  # parts, of which the first that has examples is taken


def quantization_options(command: F) -> F:
    """Add the options of quantisation."""
    options = (
        click.option(
            "--quantize",
            type=click.Choice(tuple(SCHEMES)),
            help="Store weights as integers: int8 multiplies integers of 8 bits, scaled at each call, int8-static with "
            "scales from data; int4 stores the weights of products in 4 bits.",
        ),
        click.option(
            "--calibrate",
            type=click.Path(),
            metavar="DATA",
            help=f"With --quantize int8-static: measure ranges on this data.  [default: {_ENOUGH} training examples]",
        ),
        click.option(
            "--exclude",
            multiple=True,
            metavar="PATTERN",
            help="With --quantize: keep the weights as floats whose paths match, such as 'head.*'. Can be repeated.",
        ),
        click.option(
            "--reduce-range",
            is_flag=True,
            help="With --quantize: use 7 of the 8 bits, for x86 processors without VNNI, whose sums of 8 overflow.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def choices_of(
    name: str | None,
    calibrate: str | None,
    exclude: tuple[str, ...],
    reduce_range: bool,
    options: ModelOptions,
    file: FileOptions,
) -> Choices | None:
    """What the user chooses, None for floats.

    UsageError for options that do not go together, NablacError for a target without kernels.
    """
    from compiler.quantization_schemes import check_target

    if name is None:
        for option, value in (("--calibrate", calibrate), ("--exclude", exclude), ("--reduce-range", reduce_range)):
            if value:
                raise click.UsageError(f"{option} is of a quantised model: it needs --quantize")
        return None
    scheme = SCHEMES[name]
    if calibrate is not None and not scheme.calibrated:
        raise click.UsageError(f"--quantize {name} needs no data: --calibrate is for int8-static")
    if options.dtype != "f32":
        raise click.UsageError(f"--quantize makes integers of f32: it does not go with --dtype {options.dtype}")
    if file.keep_weights:
        raise click.UsageError("--quantize stores weights in another form: it does not go with --keep-weights")
    check_target(scheme, file.target)
    return Choices(scheme, exclude, reduce_range)


@dataclass(frozen=True)
class Judge:
    """The data of a run: what a compiled model is calibrated with, and judged by."""

    training: Training
    predictor: Predictor
    judging: Judging

    @staticmethod
    def of(options: ModelOptions, data: str | None = None) -> Judge | None:
        """The judge of a run, or of a spec with trained weights, on its own data or other; None if there is no data."""
        from nablac.commands.training_setup import set_up_training
        from runtime.evaluation.evaluation import Judging
        from runtime.evaluation.part_outputs import predictor_of_training
        from runtime.training.run_options import Options

        if not options.is_run and data is None:
            return None
        asked, model = Options(), options
        if options.is_run:
            run = read_run(options.file)
            model, asked = run.model(options), run.recorded_options(asked, DATA)
        if data is not None:
            asked = replace(asked, data=data, undivided=True)
        training = set_up_training(model, asked, evaluated=True)
        training.keeps_raw = True
        training.data  # noqa: B018 - reads it
        from compiler.target_uses import target_uses

        measured = target_uses(training.spec.loss, training.spec.targets).measured
        judging = Judging(training.batch, training.padding, measured)
        return Judge(training, predictor_of_training(training), judging)

    def figures(self, part: str, file: Path) -> tuple[dict[str, float], float]:
        """The figures of a compiled file on a part of the data, and the seconds of processor time that it ran."""
        from runtime.evaluation.evaluation import evaluate
        from runtime.evaluation.key_figures import key_figures
        from runtime.onnx_session import OnnxRunner

        runner, spent = OnnxRunner(file), 0.0

        def run(feeds: dict[str, Any]) -> dict[str, Any]:
            nonlocal spent
            begun = time.process_time()
            results = runner.run({name: array for name, array in feeds.items() if name in runner.inputs})
            spent += time.process_time() - begun
            return results

        evaluation = evaluate(replace(self.predictor, run=run), self.training.data, part, self.judging)
        return key_figures(evaluation), spent

    def part(self) -> str | None:
        """The part to judge by; None where no examples are held out."""
        parts = self.training.data.parts
        return next((name for name in _JUDGED if len(parts[name])), None)


def quantized(known: KnownWeights, options: ModelOptions, choices: Choices, data: str | None) -> Quantized:
    """The graph with integers, calibrated if the scheme needs that; NablacError where it cannot be made."""
    from compiler.passes.quantize import quantize
    from grammar import codes
    from grammar.diagnostics import Diagnostic, NablacError

    if choices.scheme.calibrated:
        with stage("calibrated"):
            result = _calibrated(known, options, choices, data)
    else:
        result = quantize(known, choices)
    paths = {*known.weights, *known.sources}
    for pattern in choices.excluded:
        if not any(fnmatchcase(path, pattern) for path in paths):
            message = f"`{pattern}` matches no weight of the model"
            hint = f"the weights are {', '.join(sorted(paths)[:8])}{', ...' if len(paths) > 8 else ''}"
            raise NablacError(Diagnostic(codes.E918, message, place="exclude", hint=hint))
    return result


def _calibrated(known: KnownWeights, options: ModelOptions, choices: Choices, data: str | None) -> Quantized:
    import numpy as np

    from compiler.passes.quantize_static import quantize_static, values_to_measure
    from grammar import codes
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.evaluation.part_outputs import outputs_of
    from runtime.value_ranges import Calibration

    judge = Judge.of(options, data)
    if judge is None:
        message = "there is no data to measure ranges on"
        hint = "name the folder of a run, or some data: `--calibrate DATA`"
        raise NablacError(Diagnostic(codes.E918, message, place="calibrate", hint=hint))
    examples = judge.training.data
    rows = np.asarray(examples.parts["training"])[:_ENOUGH] if data is None else np.arange(len(examples))
    examples.parts["calibration"] = rows
    calibration = Calibration(known, values_to_measure(known.graph))
    observed = replace(judge.predictor, run=calibration.run)
    for _ in outputs_of(observed, examples, "calibration", judge.judging.batch, judge.judging.padding, set()):
        pass
    note(f"calibrated on {calibration.examples:,} examples")
    return quantize_static(known, choices, calibration.ranges)


class FigureJson(TypedDict):
    """A figure of both files."""

    before: Annotated[float, "of the file in floats"]
    after: Annotated[float, "of the written one"]


class ComparisonJson(TypedDict):
    """A file whose weights are integers, beside the same model in floats."""

    bytes_before: Annotated[int, "of the file in floats"]
    bytes_after: Annotated[int, "of the written one"]
    part: Annotated[str | None, "of the data of the run, on which both were judged; null without such data"]
    figures: Annotated[dict[str, FigureJson], "by name"]
    examples: NotRequired[Annotated[int, "in the part"]]
    seconds_before: NotRequired[Annotated[float, "of the processor, for the part, by the file in floats"]]
    seconds_after: NotRequired[Annotated[float, "by the written one"]]


class QuantizationJson(ComparisonJson):
    """What `--quantize` did."""

    scheme: Annotated[str, "`int8`, `int8-static` or `int4`"]
    floats: Annotated[list[str], "weights that stayed floats"]


def comparison(options: ModelOptions, before: Path, after: Path) -> ComparisonJson:
    """The bytes of the files, and the figures and times of both on the held-out data of a run, for `--json`."""
    sizes = before.stat().st_size, after.stat().st_size
    judge = Judge.of(options)
    part = judge.part() if judge is not None else None
    if judge is None or part is None:
        return ComparisonJson(bytes_before=sizes[0], bytes_after=sizes[1], part=None, figures={})
    (old, old_first), (new, new_first) = (judge.figures(part, file) for file in (before, after))
    old_time, new_time = (  # the first to run is slowed down by what is not yet in the caches
        min(first, judge.figures(part, file)[1]) for first, file in ((old_first, before), (new_first, after))
    )
    return ComparisonJson(
        bytes_before=sizes[0],
        bytes_after=sizes[1],
        part=part,
        figures={name: FigureJson(before=old[name], after=new[name]) for name in old if name in new},
        examples=len(judge.training.data.parts[part]),
        seconds_before=old_time,
        seconds_after=new_time,
    )


def say_comparison(facts: ComparisonJson, result: Quantized) -> None:
    """The comparison, and what stayed a float, for a reader."""
    before, after = facts["bytes_before"], facts["bytes_after"]
    click.echo(f"  {len(result.converted)} weights as integers: {before:,} bytes before, {after:,} after")
    if result.kept:
        shown = ", ".join(result.kept[:6]) + (", ..." if len(result.kept) > 6 else "")
        click.echo(f"  in floats: {shown}")
    if facts["part"] is None:
        note("the accuracy was not measured: only a run has data that is held out; name its folder")
        return
    width = max(map(len, facts["figures"]), default=0)
    click.echo(f"  on {facts['examples']:,} examples ({facts['part']})")
    for name, pair in facts["figures"].items():
        click.echo(f"    {name:<{width}} {pair['before']:.6g} before, {pair['after']:.6g} after")
    old, new = facts["seconds_before"], facts["seconds_after"]
    click.echo(f"    {'processor time':<{width}} {old * 1e3:.1f} ms before, {new * 1e3:.1f} ms after")
