"""`nablac generate`: text from a model, token by token."""

from __future__ import annotations

import codecs
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grammar import codes
from nablac.commands.options import (
    PENALTY,
    Finite,
    ModelOptions,
    model_options,
    output_options,
    refuse_of_compiled,
    run_options,
    weight_options,
)
from nablac.commands.output import encodable, note, print_json, printable, show_error
from nablac.commands.text_model import text_model

if TYPE_CHECKING:
    from grammar.diagnostics import NablacError
    from runtime.generation.generator import Generator, Request

LONGEST = 100_000  # tokens that a person can ask for


@click.command()
@model_options
@click.argument("prompts", nargs=-1)
@click.option(
    "--input",
    "listed",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file of prompts, one a line; - is stdin.",
)
@click.option(
    "--tokens", type=click.IntRange(1, LONGEST), default=128, show_default=True, help="At most this many new tokens."
)
@click.option("--temperature", type=Finite(0), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--top-k", type=click.IntRange(0), default=0, help="Sample from the K likeliest tokens.")
@click.option("--top-p", type=Finite(0, 1), default=1.0, help="Sample from the fewest with this probability.")
@click.option("--min-p", type=Finite(0, 1), default=0.0, help="Drop those below this fraction of the best.")
@click.option("--repetition-penalty", type=Finite(0, min_open=True), default=1.0, help="Above 1: repeat less.")
@click.option(
    "--beams", type=click.IntRange(1, 1000), default=1, show_default=True, help="Beam search with this many beams."
)
@click.option(
    "--length-penalty", type=PENALTY, default=1.0, show_default=True, help="Of beam search: above 0 favours long texts."
)
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="Stop at this text.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Prompts per batch.")
@click.option(
    "--most-tokens",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    metavar="N",
    help="Longest prompt; a longer one is an error.",
)
@click.option("--no-cache", is_flag=True, help="Recompute everything for each token.")
@click.option("--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="A tokenizer.json or vocab.txt.")
@run_options
@weight_options
@output_options
def command(
    options: ModelOptions,
    prompts: tuple[str, ...],
    listed: Path | None,
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
    """Generate text from PROMPTS: what goes on from them, or for an encoder-decoder model their translation.

    FILE is the folder of a run (`runs/translate/1`), a folder of `nablac compile --decode`, a compiled .onnx file that
    has its tokenizer inside, or a .model file with --weights and --tokenizer. Each prompt has its answer on a line, an
    empty one where it has an error: the others have theirs, and the exit status is 2.
    """
    from runtime.generation.generator import Request
    from runtime.generation.sampling import Sampling

    if beams > 1 and temperature:
        raise click.UsageError("beams search for the likeliest text, and --temperature samples: choose one")
    if "" in stops:
        raise click.UsageError("--stop needs a text that is not empty")
    asked = [Prompt(f"prompt {number}", text) for number, text in enumerate(prompts, 1)]
    asked += _lines(listed) if listed is not None else []
    if not asked:
        raise click.UsageError("there is no prompt; give one in quotes, or --input FILE")
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    how = Request(tokens, sampling, beams, length_penalty, stops, options.seed, batch=batch, longest=most_tokens)
    generator = _generator(options, tokenizer, no_cache)
    started = time.perf_counter()
    made, status = _answer(generator, asked, how, _Json() if as_json else _Texts(len(asked) == 1), quiet)
    note(f"{made} tokens in {time.perf_counter() - started:.2f} s", quiet or not made)
    return status


@dataclass(frozen=True)
class Prompt:
    """A text to go on from, and where it was given."""

    place: str
    text: str


def _answer(
    generator: Generator, asked: list[Prompt], how: Request, output: _Texts | _Json, quiet: bool
) -> tuple[int, int]:
    """Give every answer in the order of the prompts, as soon as those before it are there; tokens, exit status."""
    from grammar.diagnostics import NablacError

    answers: dict[int, str | NablacError] = {}
    coded: dict[int, list[int]] = {}
    unknown = generator.tokenizer.unknown
    for number, prompt in enumerate(asked):
        try:
            coded[number] = generator.encode(prompt.text, prompt.place, how.longest)
            _note_unknown(sum(each == unknown for each in coded[number]), prompt.place, quiet)
        except NablacError as error:
            answers[number] = error
    made = given = 0
    status = max((answer.exit_code for answer in answers.values() if isinstance(answer, NablacError)), default=0)
    watch = output.grow if isinstance(output, _Texts) and output.alone else None
    for number, answer in generator.answers(coded, how, watch):
        made += answer.tokens
        answers[number] = answer.text if answer.error is None else answer.error
        status = max(status, answer.error.exit_code if answer.error is not None else 0)
        given = _give(answers, asked, given, output)
    _give(answers, asked, given, output)
    output.end()
    return made, status


def _give(answers: dict[int, str | NablacError], asked: list[Prompt], first: int, output: _Texts | _Json) -> int:
    """Show the answers that are there from the `first` on; the place of the next."""
    while first in answers:
        output.add(asked[first], answers.pop(first))
        first += 1
    return first


def _generator(options: ModelOptions, tokenizer_file: Path | None, no_cache: bool) -> Generator:
    """What FILE and the options name."""
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.generation.generator import STEP, Generator
    from runtime.text.tokenizers import read_tokenizer

    file = options.file
    tokenizer = read_tokenizer(tokenizer_file) if tokenizer_file is not None else None
    if not os.path.exists(file):
        raise NablacError(Diagnostic(codes.E901, f"there is no file {file}", place=str(file)))
    if file.suffix == ".onnx" or (file / STEP).is_file():
        refuse_of_compiled(file, "no_cache")
        made = Generator.of_file if file.suffix == ".onnx" else Generator.of_folder
        return made(file, options.device, tokenizer)
    if options.device == "cuda" and options.backend == "numpy":
        raise click.UsageError("the NumPy runtime has no device but the CPU; add `--backend ort`")
    model, tokenizer = text_model(options, tokenizer_file)
    how = options.backend, options.device, not no_cache
    return Generator.of_graph(model.elaborated, model.weights, tokenizer, *how)


def _lines(path: Path) -> list[Prompt]:
    """The prompts of a file, one a line."""
    from grammar.file_kinds import encoding_of
    from runtime.boundary import LARGEST_TEXT, decode, read_file, read_stream

    content = read_stream(path) if str(path) == "-" else read_file(path, LARGEST_TEXT, pipes=True)
    if encoding_of(content) != "utf-8-sig":  # of UTF-8 a line that is none is told by itself
        content = decode(content, str(path)).encode()
    whole = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").removesuffix(b"\n")
    lines = whole.decode("utf-8", "surrogateescape").split("\n") if whole else []
    return [Prompt(f"{path}:{number}", line) for number, line in enumerate(lines, 1)]


def _note_unknown(count: int, place: str, quiet: bool) -> None:
    """Say what of a prompt the tokenizer does not know."""
    if count:
        what = "a token that the model does not know" if count == 1 else f"{count} tokens that it does not know"
        note(f"note: {place} holds {what}", quiet)


class _Texts:
    """Shows the answers one after the other, and a text that is alone as it grows."""

    def __init__(self, alone: bool) -> None:
        self.alone, self.shown = alone, ""

    def grow(self, text: str) -> None:
        if text.startswith(self.shown) and not text.endswith("\N{REPLACEMENT CHARACTER}"):  # half a character waits
            click.echo(_seen(text[len(self.shown) :]), nl=False)
            self.shown = text

    def add(self, prompt: Prompt, answer: str | NablacError) -> None:
        if isinstance(answer, str):
            click.echo(_seen(answer[len(self.shown) :] if answer.startswith(self.shown) else f"\n{answer}"))
            return
        show_error(answer)
        if not self.alone:
            click.echo()  # so that the lines of the answers are those of the prompts

    def end(self) -> None:
        return


def _seen(text: str) -> str:
    """A text of the model as stdout takes it: whole, but on a terminal nothing that it would act on."""
    return printable(text, sys.stdout) if sys.stdout.isatty() else encodable(text, sys.stdout)


class _Json:
    """All answers as one list."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def add(self, prompt: Prompt, answer: str | NablacError) -> None:
        shown = {"text": answer} if isinstance(answer, str) else {"errors": [e.to_json() for e in answer.diagnostics]}
        self.found.append({"prompt": encodable(prompt.text, None), **shown})

    def end(self) -> None:
        print_json(self.found)
