"""Checks of a data description that need no data: whether its stages fit each other."""

from __future__ import annotations

from collections.abc import Collection

from compiler.elaborate.data import A_TEXT, EXAMPLES, PAIRS, ROWS, SCALES, SOURCES, STAGES, listed_names
from compiler.elaborate.session import Session
from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import did_you_mean

_HINTS = {
    ROWS: "`columns(...)` or `window(...)` creates examples of rows",
    A_TEXT: "`tokens(...)`, `characters(...)` or `words(...)` creates examples of a text",
    PAIRS: "`tokens(...)` creates examples of pairs",
    EXAMPLES: "only one stage creates examples, and the others change them",
}


def check_stages(session: Session, stages: tuple[DataStage, ...]) -> None:
    """NablacError for a stage that does not take the kind of data that it gets.

    If no stage creates examples, they are passed from Python, and their kind is not known.
    """
    source, *following = stages
    if all(STAGES[stage.name].on_examples for stage in following):
        return
    kind = SOURCES[source.name].returns
    for stage in following:
        declared = STAGES[stage.name]
        if declared.takes and kind not in declared.takes:
            message = f"`{stage.name}`: expected {' or '.join(declared.takes)}, got {kind}"
            raise session.fault(codes.E823, message, stage.span, hint=_HINTS[kind])
        if stage.name == "tokens":
            _check_tokens(session, stage, of_table=kind == ROWS)
        if not declared.on_examples and not (declared.keeps_rows and kind == ROWS):
            kind = declared.returns


def _check_tokens(session: Session, stage: DataStage, of_table: bool) -> None:
    """NablacError for `tokens` of a table that names no column, and for arguments that are for other data."""
    if of_table and not stage.arguments["columns"]:
        message, hint = "`tokens` of a table needs `columns`", 'as in `tokens(columns: "review")`'
        raise session.fault(codes.E823, message, stage.span, hint=hint)
    others = ("hide", "target") if of_table else ("columns", "empty")
    parameters = STAGES["tokens"].parameters
    for name in others:
        if stage.arguments[name] != parameters[name].default:
            of, instead = ("texts and pairs", "a table") if of_table else ("tables", "texts and pairs")
            message = f"`{name}` of `tokens` is for {of}, not for {instead}"
            raise session.fault(codes.E823, message, stage.span)


def check_scaled_columns(session: Session, stages: tuple[DataStage, ...], names: Collection[str]) -> None:
    """Report columns to scale that are in no example; `names` are the model's inputs and targets."""
    creator = next((stage for stage in stages if stage.name in ("columns", "window")), None)
    if creator is None:
        return
    parameters = ("inputs", "targets") if creator.name == "columns" else ("columns", "target", "known")
    columns = {name for parameter in parameters for name in listed_names(creator.arguments[parameter])}
    known = {*columns, "input", "target", "known", *names}
    for stage in stages:
        for column in listed_names(stage.arguments["columns"]) if stage.name in SCALES else ():
            if column not in known:
                hint = did_you_mean(column, known) or f"the choices are {', '.join(sorted(columns))}"
                message = f"there is no column `{column}` to scale"
                session.report(session.fault(codes.E822, message, stage.span, hint=hint))
