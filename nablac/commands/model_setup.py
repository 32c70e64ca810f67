"""The model that a command's options describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nablac.commands.model_options import ModelOptions, check_rename
from nablac.commands.output import detail, is_quiet, note, stage
from nablac.commands.runs import read_run

if TYPE_CHECKING:
    from compiler.elaborate.program import Program
    from nablac.model import Model


def set_up_model(options: ModelOptions) -> Model:
    """The model that the options describe; for the folder of a run, the trained one."""
    if options.is_run:
        options = read_run(options.file).model(options)
    check_rename(options)
    from compiler.elaborate.presets import parse_settings
    from compiler.elaborate.program import load
    from compiler.elaborate.values import show
    from nablac.compiling import from_program

    hypers = parse_settings(options.set)
    with stage(f"{options.file}: read"):
        program = load(options.file)
    name = choose_model(program, options.model)
    with stage("elaborated and optimised"):
        model = from_program(
            program,
            model=name,
            preset=options.preset,
            hypers=hypers,
            seed=options.seed,
            dtype=options.dtype,
            backend=options.backend,
            device=options.device,
        )
    detail(f"{model.name}: {len(model.graph)} operators")
    for key, value in model.hypers.items():
        detail(f"  {key} = {show(value)}")
    if options.weights is not None:
        with stage(f"{options.weights}: read"):
            model.load(options.weights, options.rename, lambda text: note(text, is_quiet()))
    return model


def choose_model(program: Program, name: str | None) -> str | None:
    """The name of the model to use: if none is asked for and the file has several, the first, with a note."""
    names = [model.name for model in program.models]
    trained = {train.model.text for train in program.trains} & set(names)
    if name is not None or len(names) < 2 or len(trained) == 1:  # with one train block, its model is used
        return name
    text = f"note: {program.source.name} has the models {', '.join(names)}; using {names[0]}, `--model` selects another"
    note(text, is_quiet())
    return names[0]
