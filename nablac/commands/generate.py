"""`nablac generate`: text from a model, token by token."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.options import (
    FiniteRange,
    model_options,
    output_options,
    refuse_of_compiled,
    run_options,
    weight_options,
)
from nablac.commands.output import note, print_json
from nablac.commands.text_model import text_model

if TYPE_CHECKING:
    from runtime.generation.generator import Generator
    from runtime.text.tokenizers import Tokenizer

LONGEST = 100_000  # tokens that a person can ask for


@click.command()
@model_options
@click.argument("prompts", nargs=-1)
@click.option(
    "--input", "listed", type=click.Path(path_type=Path), metavar="FILE", help="Prompts, one a line; - is stdin."
)
@click.option("--tokens", type=click.IntRange(1, LONGEST), default=128, show_default=True, help="New tokens at most.")
@click.option("--temperature", type=FiniteRange(0), default=0.0, show_default=True, help="0 takes the likeliest.")
@click.option("--top-k", type=click.IntRange(0), default=0, help="Draw from the K likeliest tokens.")
@click.option("--top-p", type=FiniteRange(0, 1), default=1.0, help="Draw from the fewest with this share.")
@click.option("--min-p", type=FiniteRange(0, 1), default=0.0, help="Leave out those below this share of the best.")
@click.option("--repetition-penalty", type=FiniteRange(0, min_open=True), default=1.0, help="Above 1: repeat less.")
@click.option("--beams", type=click.IntRange(1, 1000), default=1, show_default=True, help="Search with so many beams.")
@click.option(
    "--length-penalty", type=FiniteRange(), default=1.0, show_default=True, help="Of beams: above 0 favours long."
)
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="End at this text.")
@click.option("--no-cache", is_flag=True, help="Compute everything again for each token.")
@click.option("--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="A tokenizer.json or vocab.txt.")
@run_options
@weight_options
@output_options
def command(
    file: Path,
    prompts: tuple[str, ...],
    listed: Path | None,
    tokens: int,
    stops: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Generate text from PROMPTS: what goes on from them, or for an encoder-decoder model their translation.

    FILE is the folder of a run (`runs/translate/1`), a folder of `nablac compile --decode`, a compiled .onnx file that
    has its tokenizer inside, or a .model file with --weights and --tokenizer.
    """
    from runtime.generation.generator import Request
    from runtime.generation.sampling import Sampling

    if given["beams"] > 1 and given["temperature"]:
        raise click.UsageError("beams search for the likeliest text, and --temperature draws: choose one")
    asked = [*prompts, *(_lines(listed) if listed is not None else ())]
    if not asked:
        raise click.UsageError("there is no prompt; give one in quotes, or --input FILE")
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    how = Request(
        tokens, Sampling(*(given[name] for name in names)), given["beams"], given["length_penalty"], stops, seed
    )
    generator = _generator(file, {**given, "quiet": quiet, "seed": seed})
    _note_unknown(generator.tokenizer, asked, quiet)
    stream = _Stream() if len(asked) == 1 and how.beams == 1 and not as_json else None
    started = time.perf_counter()
    found = generator.generate(asked, how, stream)
    seconds = time.perf_counter() - started
    if as_json:
        print_json([{"prompt": prompt, "text": text} for prompt, text in zip(asked, found, strict=True)])
    elif stream is not None:
        stream.end(found[0])
    else:
        for text in found:
            click.echo(text)
    made = sum(len(generator.tokenizer.encode(text)) for text in found)
    note(f"{made} tokens in {seconds:.2f} s", quiet)
    return 0


def _generator(file: Path, given: dict[str, Any]) -> Generator:
    """What FILE and the options name."""
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.generation.generator import STEP, Generator
    from runtime.text.tokenizers import read_tokenizer

    tokenizer = read_tokenizer(given["tokenizer"]) if given["tokenizer"] is not None else None
    if file.is_dir() and (file / STEP).is_file():
        refuse_of_compiled(file, "no_cache")
        return Generator.of_folder(file, given["device"], tokenizer)
    if not file.exists():
        raise NablacError(Diagnostic("E901", f"there is no file {file}", place=str(file)))
    if file.suffix == ".onnx":
        refuse_of_compiled(file)
        return Generator.of_file(file, given["device"], tokenizer)
    model, tokenizer = text_model(file, given)
    cached = not given["no_cache"]
    return Generator.of_graph(model.elaborated, model.weights, tokenizer, given["backend"], given["device"], cached)


def _lines(path: Path) -> list[str]:
    """The prompts of a file; an empty line is a mistake."""
    from grammar.diagnostics import Diagnostic, NablacError

    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise NablacError(Diagnostic("E903", f"{path} cannot be read: {error.strerror}", place=str(path))) from None
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        place = f"{path}: byte {error.start}"
        raise NablacError(Diagnostic("E821", "this is no UTF-8 text", place=place)) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise NablacError(Diagnostic("E852", "this prompt is empty", place=f"{path}:{number}"))
    return lines


def _note_unknown(tokenizer: Tokenizer, prompts: list[str], quiet: bool) -> None:
    """Say what of the prompts the tokenizer does not know."""
    if tokenizer.unknown is None:
        return
    for number, prompt in enumerate(prompts, 1):
        unknown = tokenizer.encode(prompt).count(tokenizer.unknown)
        if unknown:
            what = "a token that the model does not know" if unknown == 1 else f"{unknown} tokens that it does not know"
            note(f"note: prompt {number} holds {what}", quiet)


class _Stream:
    """Shows a text as it grows."""

    def __init__(self) -> None:
        self.shown = ""

    def __call__(self, text: str) -> None:
        if text.startswith(self.shown) and not text.endswith("\N{REPLACEMENT CHARACTER}"):  # half a character waits
            click.echo(text[len(self.shown) :], nl=False)
            self.shown = text

    def end(self, text: str) -> None:
        click.echo(text[len(self.shown) :] if text.startswith(self.shown) else f"\n{text}")
