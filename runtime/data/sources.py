"""Data sources: one function for each of `compiler.elaborate.data.SOURCES`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import LARGEST_PYTHON, BrokenFile, decode, read_file
from runtime.data.arrays import npz
from runtime.data.context import Context
from runtime.data.digits import digits
from runtime.data.examples import Text
from runtime.data.image_folders import images
from runtime.data.long_text import LongText
from runtime.data.pairs import pairs
from runtime.data.table_files import csv, json, parquet

Source = Callable[[DataStage, Context], Any]


def text(stage: DataStage, context: Context) -> Text:
    """A text file, all `.txt` files of a folder in alphabetical order, or the string literals of a Python file."""
    path = context.path(stage.arguments["path"], stage.span)
    files = sorted(file for file in path.rglob("*.txt")) if path.is_dir() else [path]
    content = LongText(str(path))
    for file in files:
        try:
            if file.suffix == ".py":
                content.add_text(file, _literals(file))
            else:
                content.add(file)
        except SyntaxError as error:
            context.report_broken(f"{file}:{error.lineno or 1}", "this is not valid Python")
        except BrokenFile as error:
            context.leave_out(error, str(file))
    if not content.size:
        raise NablacError(Diagnostic(codes.E823, f"{path} holds no text", stage.span))
    return Text(str(path), [], content)


def _literals(path: Path) -> str:
    """The multi-line string literals of a Python file; it is parsed, not run."""
    import ast

    source = decode(read_file(path, LARGEST_PYTHON), str(path))
    try:
        tree = ast.parse(source)
    except SyntaxError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, or too deep nesting
        why = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise SyntaxError(why) from None
    literals = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "\n".join(literal for literal in literals if "\n" in literal)


SOURCES: dict[str, Source] = {
    "csv": csv,
    "parquet": parquet,
    "json": json,
    "npz": npz,
    "digits": digits,
    "images": images,
    "text": text,
    "pairs": pairs,
}
