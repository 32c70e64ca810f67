"""The model that a command line names: a file, the folder of a run, or a spec that comes with nablac, by its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, split_arg_string

from grammar.diagnostics import NablacError
from nablac.commands.completions import matching_paths, path_items, run_folders
from nablac.commands.option_types import NamedPath
from nablac.spec_names import model_named, shipped_specs

if TYPE_CHECKING:
    from grammar.syntax import Hyper


class ModelFile(NamedPath):
    """A path of a model, or the name of one that comes with nablac."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The path of the model; NablacError if there is none of this name."""
        path = super().convert(value, parameter, context)
        is_completing = context is not None and context.resilient_parsing
        return path if is_completing or not isinstance(path, Path) else model_named(path)

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names of specs, the runs below `runs`, and paths."""
        return path_items(_candidates(incomplete))


def _candidates(incomplete: str) -> Iterator[str]:
    runs = list(run_folders(incomplete))
    yield from (path for path in matching_paths(incomplete, (".model", ".onnx")) if path.rstrip("/") not in runs)
    yield from runs
    yield from (name for name in shipped_specs() if name.startswith(incomplete))


Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_in_file(kind: str) -> Completer:
    """A completer of the names in the FILE of a command: its `model`s, `preset`s, or hyperparameters (`set`)."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from grammar.parser import parse, read_source
        from grammar.syntax import Definition, Preset

        file = _file_in(os.environ.get("COMP_WORDS", ""))
        try:
            declarations = parse(read_source(file)).declarations if file is not None else ()
        except NablacError:
            return []
        models = [node for node in declarations if isinstance(node, Definition) and node.kind == "model"]
        presets = [node for model in models for node in model.body if isinstance(node, Preset)]
        names = {
            "model": [model.name.text for model in models],
            "preset": [preset.name.text for preset in presets],
            "set": [text for model in models for hyper in model.hypers for text in _settings(hyper, incomplete)],
        }
        return [CompletionItem(name) for name in dict.fromkeys(names[kind]) if name.startswith(incomplete)]

    return complete


def _settings(hyper: Hyper, incomplete: str) -> list[str]:
    """`NAME=`, or, behind the `=`, one setting for each option of a choice."""
    from grammar.expression_printer import print_expression
    from grammar.syntax import Call, Name

    start = f"{hyper.name.text}="
    if not incomplete.startswith(start):
        return [start]
    match hyper.default:
        case Call(callee=Name(text="choice"), arguments=arguments):
            return [f"{start}{print_expression(argument.value)}" for argument in arguments]
    return []


def _file_in(line: str) -> Path | None:
    """The first model in a command line; click has no arguments of a line that ends in an option without its value."""
    for word in split_arg_string(line)[2:]:
        try:
            path = model_named(Path(word))
        except NablacError:
            continue
        if path.suffix == ".model" and path.is_file():
            return path
    return None
