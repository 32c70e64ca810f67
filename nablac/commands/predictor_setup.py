"""The model that a command's options describe, to predict with: of a run or a text, or a compiled file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nablac.commands.compilation_options import refuse_options_of_compilation
from nablac.commands.model_options import ModelOptions
from nablac.commands.model_setup import set_up_model

if TYPE_CHECKING:
    from compiler.types import TensorType
    from runtime.prediction.predictor import Predictor


def set_up_predictor(options: ModelOptions, tokenizer_file: Path | None) -> Predictor:
    """The model that FILE names; the file of a tokenizer replaces the one that it was trained with."""
    from nablac.predicting import predictor_of
    from runtime.text.tokenizers import read_tokenizer

    if options.file.suffix == ".onnx":
        return set_up_compiled_predictor(options, tokenizer_file)[0]
    tokenizer = read_tokenizer(tokenizer_file) if tokenizer_file is not None else None
    return predictor_of(set_up_model(options), tokenizer)


def set_up_compiled_predictor(
    options: ModelOptions, tokenizer_file: Path | None
) -> tuple[Predictor, dict[str, TensorType]]:
    """The compiled model that FILE names, with the types of its outputs."""
    from grammar import codes
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.onnx_session import OnnxRunner
    from runtime.prediction.predictor import Predictor
    from runtime.text.tokenizers import read_tokenizer

    refuse_options_of_compilation(options.file)
    tokenizer = read_tokenizer(tokenizer_file) if tokenizer_file is not None else None
    if not options.file.exists():
        raise NablacError(Diagnostic(codes.E901, f"there is no file {options.file}", place=str(options.file)))
    runner = OnnxRunner(options.file, device=options.device)
    return Predictor.of_runner(runner, options.seed, tokenizer), runner.output_types
