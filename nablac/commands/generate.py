"""`nablac generate`: generate text, token by token."""

from __future__ import annotations

import codecs
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict

import click

from grammar import codes
from nablac.commands.compilation_options import refuse_options_of_compilation
from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.option_types import Count, Finite, NamedPath
from nablac.commands.options import beam_options, output_options, run_options
from nablac.commands.output import encodable, note, print_json, printable, show_error
from nablac.commands.streams import OutputFailed
from nablac.commands.text_model import text_model

if TYPE_CHECKING:
    from grammar.diagnostics import DiagnosticJson, NablacError
    from runtime.generation.generator import Generator, Request

MOST_NEW_TOKENS = 100_000  # limit of --tokens


class AnswerJson(TypedDict):
    """The answer to a prompt: a text, or what is wrong with the prompt."""

    prompt: Annotated[str, "as it was given"]
    text: NotRequired[Annotated[str, "what was generated"]]
    errors: NotRequired[Annotated[list[DiagnosticJson], "instead of `text`"]]


@click.command()
@model_options
@click.argument("prompts", nargs=-1)
@click.option(
    "--input",
    "prompts_file",
    type=NamedPath(),
    metavar="FILE",
    help="Read prompts from a file, one per line; - is standard input.",
)
@click.option(
    "--tokens",
    type=click.IntRange(1, MOST_NEW_TOKENS),
    default=128,
    show_default=True,
    metavar="N",
    help="Generate at most N new tokens.",
)
@click.option(
    "--temperature",
    type=Finite(0),
    default=0.0,
    show_default=True,
    metavar="T",
    help="Temperature of sampling; 0 is greedy.",
)
@click.option(
    "--top-k",
    type=Count(0),
    default=0,
    metavar="K",
    help="Sample from the K most likely tokens.  [default: all]",
)
@click.option(
    "--top-p",
    type=Finite(0, 1),
    default=1.0,
    metavar="P",
    help="Sample from the smallest set of tokens with total probability P.  [default: all]",
)
@click.option(
    "--min-p",
    type=Finite(0, 1),
    default=0.0,
    metavar="P",
    help="Drop tokens with less than this fraction of the highest probability.",
)
@click.option(
    "--repetition-penalty",
    type=Finite(0, min_open=True),
    default=1.0,
    metavar="X",
    help="Penalize tokens that occurred before; above 1 repeats less.",
)
@beam_options
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="Stop at this text. Can be repeated.")
@click.option("--batch", type=Count(1), default=16, show_default=True, metavar="N", help="Prompts per batch.")
@click.option(
    "--most-tokens",
    type=Count(1),
    default=4096,
    show_default=True,
    metavar="N",
    help="Maximum length of a prompt; a longer one is an error.",
)
@click.option("--no-cache", is_flag=True, help="Recompute all positions for each token.")
@click.option(
    "--tokenizer",
    type=NamedPath(),
    metavar="FILE",
    help="Read the tokenizer from a tokenizer.json or vocab.txt.",
)
@run_options
@weight_options
@output_options
def command(
    options: ModelOptions,
    prompts: tuple[str, ...],
    prompts_file: Path | None,
    tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    repetition_penalty: float,
    beams: int,
    length_penalty: float,
    stops: tuple[str, ...],
    batch: int,
    most_tokens: int,
    no_cache: bool,
    tokenizer: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Generate text with a model.

    Continues each of PROMPTS, or translates it with an encoder-decoder model. FILE is the folder of a run
    (`runs/translate/1`), a folder from `nablac compile --decode`, a compiled .onnx file with its tokenizer inside, or a
    .model file with --weights and --tokenizer.

    Prints the result of a single prompt as it is generated. Of several prompts, or with --input, prints one result per
    line, in the order of the prompts, with `\\n` for a line break in it; --json has the texts as they are. If a prompt
    has an error, its line is empty, the other prompts are still processed, and the exit status is 2.

    \b
    Example:
      nablac init text
      nablac train text.model --epochs 1 --limit-batches 5
      nablac generate runs/text/1 "The " --tokens 20
    """
    from runtime.generation.generator import Request
    from runtime.generation.sampling import Sampling

    if beams > 1 and temperature:
        raise click.UsageError("--beams searches for the most likely text, and --temperature samples: choose one")
    if "" in stops:
        raise click.UsageError("--stop needs a non-empty text")
    all_prompts = [Prompt(f"prompt {number}", text) for number, text in enumerate(prompts, 1)]
    all_prompts += _read_prompts(prompts_file) if prompts_file is not None else []
    if not all_prompts:
        raise click.UsageError("there is no prompt; give one in quotes, or --input FILE")
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    request = Request(tokens, sampling, beams, length_penalty, stops, options.seed, batch=batch, longest=most_tokens)
    generator = _generator(options, tokenizer, no_cache)
    started = time.perf_counter()
    output = _Json() if as_json else _Texts(by_line=len(all_prompts) > 1 or prompts_file is not None)
    count, status = _generate(generator, all_prompts, request, output, quiet)
    note(f"{count} tokens in {time.perf_counter() - started:.2f} s", quiet or not count)
    return status


@dataclass(frozen=True)
class Prompt:
    """A text to continue or translate, and where it comes from."""

    location: str
    text: str


def _generate(
    generator: Generator, prompts: list[Prompt], request: Request, output: _Texts | _Json, quiet: bool
) -> tuple[int, int]:
    """Print the answers in the order of the prompts, each as soon as possible; returns token count and exit status."""
    from grammar.diagnostics import NablacError

    answers: dict[int, str | NablacError] = {}
    encoded: dict[int, list[int]] = {}
    unknown = generator.tokenizer.unknown
    for index, prompt in enumerate(prompts):
        try:
            encoded[index] = generator.encode(prompt.text, prompt.location, request.longest)
            _note_unknown(sum(token == unknown for token in encoded[index]), prompt.location, quiet)
        except NablacError as error:
            answers[index] = error
    tokens = printed = 0
    status = max((answer.exit_code for answer in answers.values() if isinstance(answer, NablacError)), default=0)
    watch = output.grow if isinstance(output, _Texts) and not output.by_line else None
    for index, answer in generator.answers(encoded, request, watch):
        if isinstance(answer.error, OutputFailed):  # what `watch` raised
            raise answer.error
        tokens += answer.tokens
        answers[index] = answer.text if answer.error is None else answer.error
        status = max(status, answer.error.exit_code if answer.error is not None else 0)
        printed = _print_available(answers, prompts, printed, output)
    _print_available(answers, prompts, printed, output)
    output.end()
    return tokens, status


def _print_available(
    answers: dict[int, str | NablacError], prompts: list[Prompt], first: int, output: _Texts | _Json
) -> int:
    """Print the answers from index `first` on, up to the first that is not available; returns the index of that one."""
    while first in answers:
        output.add(prompts[first], answers.pop(first))
        first += 1
    return first


def _generator(options: ModelOptions, tokenizer_file: Path | None, no_cache: bool) -> Generator:
    """The generator that FILE and the options describe."""
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.generation.generator import STEP, Generator
    from runtime.text.tokenizers import read_tokenizer

    file = options.file
    tokenizer = read_tokenizer(tokenizer_file) if tokenizer_file is not None else None
    if not os.path.exists(file):
        raise NablacError(Diagnostic(codes.E901, f"there is no file {file}", place=str(file)))
    if file.suffix == ".onnx" or (file / STEP).is_file():
        refuse_options_of_compilation(file, "no_cache")
        read = Generator.of_file if file.suffix == ".onnx" else Generator.of_folder
        return read(file, options.device, tokenizer)
    if options.device != "cpu" and options.backend == "numpy":
        raise click.UsageError("the NumPy runtime runs on the CPU only; add `--backend ort`")
    model, tokenizer = text_model(options, tokenizer_file)
    return Generator.of_graph(
        model.elaborated, model.read_weights(), tokenizer, options.backend, options.device, not no_cache
    )


def _read_prompts(path: Path) -> list[Prompt]:
    """The prompts in a file, one per line."""
    from grammar.file_kinds import encoding_of
    from runtime.boundary import LARGEST_TEXT, decode, read_file, read_stream

    content = read_stream(path) if str(path) == "-" else read_file(path, LARGEST_TEXT, pipes=True)
    if encoding_of(content) != "utf-8-sig":  # an invalid line of UTF-8 is reported by itself
        content = decode(content, str(path)).encode()
    text = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").removesuffix(b"\n")
    lines = text.decode("utf-8", "surrogateescape").split("\n") if text else []
    return [Prompt(f"{path}:{number}", line) for number, line in enumerate(lines, 1)]


def _note_unknown(count: int, location: str, quiet: bool) -> None:
    """Say how many tokens of a prompt are unknown to the tokenizer."""
    if count:
        what = "a token that the model does not know" if count == 1 else f"{count} tokens that the model does not know"
        note(f"note: {location} has {what}", quiet)


class _Texts:
    """Prints the answers `by_line`, each on one; or the answer to a single prompt, as it is generated."""

    def __init__(self, by_line: bool) -> None:
        self.by_line, self.shown = by_line, ""

    def grow(self, text: str) -> None:
        if text.startswith(self.shown) and not text.endswith(
            "\N{REPLACEMENT CHARACTER}"
        ):  # else the character is incomplete
            click.echo(_for_stdout(text[len(self.shown) :]), nl=False)
            self.shown = text

    def add(self, prompt: Prompt, answer: str | NablacError) -> None:
        if isinstance(answer, str) and self.by_line:
            click.echo(_for_stdout(answer.replace("\r", "\\r").replace("\n", "\\n")))
            return
        if isinstance(answer, str):
            click.echo(_for_stdout(answer[len(self.shown) :] if answer.startswith(self.shown) else f"\n{answer}"))
            return
        show_error(answer)
        if self.by_line:
            click.echo()  # so that line numbers of answers and prompts agree

    def end(self) -> None:
        return


def _for_stdout(text: str) -> str:
    """A generated text as it can be printed: unchanged, but with control characters escaped on a terminal."""
    return printable(text, sys.stdout) if sys.stdout.isatty() else encodable(text, sys.stdout)


class _Json:
    """Prints all answers as one JSON list."""

    def __init__(self) -> None:
        self.answers: list[AnswerJson] = []

    def add(self, prompt: Prompt, answer: str | NablacError) -> None:
        shown = AnswerJson(prompt=encodable(prompt.text, None))
        if isinstance(answer, str):
            shown["text"] = answer
        else:
            shown["errors"] = [diagnostic.to_json() for diagnostic in answer.diagnostics]
        self.answers.append(shown)

    def end(self) -> None:
        print_json(self.answers)
