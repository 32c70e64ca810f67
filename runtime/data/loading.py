"""Running a data description, and fitting its arrays to the inputs and targets of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.model_spec import DataStage, mask_name
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.source import Span
from runtime.data.assignment import Assigned, assign
from runtime.data.constant_columns import constant_columns, note_constant_columns
from runtime.data.context import Context
from runtime.data.example_weights import take_weights, weighed
from runtime.data.examples import Examples
from runtime.data.model_arrays import are_labels, cast, check_kind, is_one_hot, reshape
from runtime.data.recipe import described
from runtime.data.scaling import Extremes, Scaling, fit_scaling, select_scale
from runtime.data.sources import SOURCES
from runtime.data.stages import STAGES, apply_split
from runtime.data.stored_rows import StoredRows
from runtime.data.target_gaps import mask_of, with_stand_ins
from runtime.data.tokenized_examples import fitting_tokens

if TYPE_CHECKING:
    from compiler.types import Array


_NONE_LEFT = "use more data, shorter windows, or a smaller fraction for validation"


@dataclass(frozen=True)
class Requirements:
    """A model's inputs and targets; `measured` are the targets whose difference its loss takes, which can be scaled."""

    inputs: Mapping[str, TensorType]
    targets: Mapping[str, TensorType]
    measured: frozenset[str]
    weight: DType | None = None  # of the weights of examples, where the loss has some


def load_examples(stages: Sequence[DataStage], context: Context, requirements: Requirements) -> Examples:
    """The examples that a train block describes, by the names of the model's inputs and targets.

    NablacError for a missing or broken file, and for data that does not fit the model.
    """
    if not stages:
        raise NablacError(
            Diagnostic(
                codes.E824, "the train block names no data", hint='as in `data csv("series.csv") -> window(...)`'
            )
        )
    first, *rest = stages
    if first.name not in SOURCES:
        raise NablacError(Diagnostic(codes.E824, f"`{first.name}` needs arrays passed from Python", first.span))
    context = apply_split(context, rest)
    examples = run_stages(SOURCES[first.name](first, context), rest, context, requirements, stages[-1].span)
    return replace(examples, stages=described(stages, examples.decided))


def run_stages(
    data: Any, stages: Sequence[DataStage], context: Context, requirements: Requirements, span: Span | None = None
) -> Examples:
    """Run stages on data that is read, and fit the examples to a model; `span` is the last stage's."""
    context = apply_split(context, stages)
    for stage in stages:
        data = STAGES[stage.name](data, stage, context)
    if not isinstance(data, Examples):
        raise NablacError(
            Diagnostic(
                codes.E824,
                "this does not produce examples yet",
                span,
                hint="cut a table with `columns(...)` or `window(...)`, a text with `characters(...)`",
            )
        )
    return fit_examples(data, context, requirements, span)


def fit_examples(examples: Examples, context: Context, requirements: Requirements, span: Span | None) -> Examples:
    """`examples` split into parts, by the model's names, scaled, and in its types.

    Arrays are assigned by name if one agrees, else in order. Scalings are those of `context`, or are fitted to the
    training part.
    """
    examples = examples.split(context)
    if not len(examples.parts["training"]) and context.fitted is None:
        raise NablacError(Diagnostic(codes.E823, "no example is left to train on", span, hint=_NONE_LEFT))
    _check_parts(examples, context, span)
    _check_scaled_columns(examples, requirements)
    examples, weights = take_weights(examples, context)
    arrays: dict[str, Array | StoredRows] = {}
    scalings: dict[str, Scaling] = {}
    raw: dict[str, Array | StoredRows] = {}
    columns: dict[str, tuple[str, ...]] = {}
    known: list[str] = []
    constant: list[str] = []
    types = {**requirements.inputs, **requirements.targets}
    for assignment in assign(examples, requirements.inputs, requirements.targets, span):
        name, type = assignment.name, types[assignment.name]
        columns[name] = assignment.columns
        known += [name] if assignment.source in examples.known else []
        if assignment.source != name and not (examples.inputs or examples.targets):
            context.note(str(span) if span is not None else "data", f"`{assignment.source}` is read as `{name}`")
        check_kind(assignment, type, examples, span)
        whole, missing = assignment.array, None
        tokenizer = examples.tokenizers.get(assignment.source)
        if tokenizer is not None:
            whole = fitting_tokens(name, whole, type, tokenizer, assignment.source, span)
        if name in requirements.targets:
            whole, missing = with_stand_ins(whole, examples.parts["training"])
        array = reshape(whole, assignment, type, examples, name in requirements.targets, span)
        rows = name in requirements.targets and are_labels(whole, type.shape[1:])
        labels = rows or bool(set(assignment.columns) & examples.classes.keys())
        scaling: Scaling | None = None
        if type.dtype.is_float and not labels and examples.scales:
            unasked = name not in requirements.targets or (name in requirements.measured and not is_one_hot(array))
            scaling = _scaling(assignment, array, examples, context, unasked)
            if scaling is not None:
                scalings[name] = scaling
                if context.fitted is None:
                    extremes = Extremes.of(array, examples.parts["training"])
                    constant += constant_columns(assignment.columns, extremes)
                    _check_precision(assignment, extremes, scaling, type, name in requirements.targets, span)
                if context.keeps_raw:
                    raw[name] = array
        elif context.fitted is None and labels and assignment.columns:
            constant += constant_columns(assignment.columns, Extremes.of(array, examples.parts["training"]))
        arrays[name] = cast(array, assignment, type, examples, span, scaling)
        if missing is not None:
            arrays[mask_name(name)] = mask_of(missing, array)
    note_constant_columns(list(dict.fromkeys(constant)), examples.path or "data", context)
    inputs, targets = tuple(requirements.inputs), tuple(requirements.targets)
    scaled = replace(examples, arrays=arrays, inputs=inputs, targets=targets, columns=columns, scalings=scalings)
    scaled = replace(scaled, scales=(), samples={}, raw=raw, known=tuple(known))
    return scaled if requirements.weight is None else weighed(scaled, weights, context, requirements.weight)


def _check_parts(examples: Examples, context: Context, span: Span | None) -> None:
    """NablacError if a part that is held out is empty."""
    for part, share in (("validation", context.validation), ("test", context.test)):
        if share and not len(examples.parts[part]):
            count = len(examples)
            message = f"{part} {share:g} of {count:,} example{'' if count == 1 else 's'} is less than one example"
            hint = f"use a larger fraction or more data (a window lies in one part); `{part} 0` asks for none"
            raise NablacError(Diagnostic(codes.E823, message, span, hint=hint))


def _scaling(
    assignment: Assigned, array: Array | StoredRows, examples: Examples, context: Context, unasked: bool
) -> Scaling | None:
    """The scaling of an array; `assignment.array` is the same before it took the model's shape."""
    if context.fitted is not None:
        return context.fitted.scalings.get(assignment.name)
    scales = [
        select_scale(examples.scales, {column, assignment.source, assignment.name}, unasked)
        for column in assignment.columns or (assignment.name,)
    ]
    if assignment.samples is not None:
        scaling, form = fit_scaling(assignment.samples, scales), assignment.array
    else:  # an array is of images if it has four axes in the data or in the model
        form = assignment.array if assignment.array.ndim >= array.ndim else array
        scaling = fit_scaling(form, scales, examples.parts["training"])
    return scaling.reshape(form.shape[1:], array.shape[1:]) if scaling is not None else None


def _check_precision(
    assignment: Assigned, raw: Extremes, scaling: Scaling, type: TensorType, target: bool, span: Span | None
) -> None:
    """NablacError if raw numbers, which the compiled model takes and gives, lose too much precision in its type."""
    name = assignment.name
    at = scaling.imprecise_index(raw, type.dtype)
    if at is None:
        return
    largest, spread = float(raw.largest[at]), float(np.broadcast_to(scaling.scale, raw.largest.shape)[at])
    column = at[-1] if at else 0
    what = f"column `{assignment.columns[column]}`" if len(assignment.columns) > column else f"`{assignment.source}`"
    if largest > type.dtype.largest:
        message = f"{what} reaches {largest:.3g}, and the {type.dtype} of `{name}` holds {type.dtype.largest:.3g}"
        hint = "the compiled model works in raw numbers: use a larger unit in the data"
        raise NablacError(Diagnostic(codes.E847, message, span, hint=hint))
    message = f"{what} reaches {largest:.10g} and varies by {spread:.3g}: too little for the {type.dtype} of `{name}`"
    step = type.dtype.eps * 2.0 ** np.floor(np.log2(largest))
    note = f"numbers of {type.dtype} are {step:.3g} apart there, and the compiled model works in raw numbers"
    hint = "subtract a constant from the column in the data, such as the time of the first row"
    if not target and type.dtype != DType.F64:
        sizes = ", ".join(map(str, type.shape))
        hint = f"declare `{name}: f64[{sizes}]` and go on with `cast({name}, f32)`, or {hint}"
    raise NablacError(Diagnostic(codes.E847, message, span, note=note, hint=hint))


def _check_scaled_columns(examples: Examples, requirements: Requirements) -> None:
    """NablacError for a scaling of a column that does not exist."""
    columns = {column for names in examples.columns.values() for column in names}
    known = {*columns, *examples.arrays, *requirements.inputs, *requirements.targets}
    for scale in examples.scales:
        for column in scale.columns:
            if column not in known:
                hint = did_you_mean(column, known) or f"the choices are {', '.join(sorted(columns or examples.arrays))}"
                raise NablacError(
                    Diagnostic(codes.E822, f"there is no column `{column}` to scale", scale.span, hint=hint)
                )
