"""The words of a line that is being typed, without options that no command has: with one click reads no argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import click


def known_words(command: click.Command, words: Sequence[str]) -> list[str]:
    """The words behind the name of a command; the beginning of a single option is this option."""
    context = click.Context(command, resilient_parsing=True)
    options = {
        name: option
        for option in command.get_params(context)
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*kept, word, *rest]
        if word.startswith("-") and word != "-":
            kept += _option(word, options, rest)
            continue
        kept.append(word)
        below = command.get_command(context, word) if isinstance(command, click.Group) else None
        if below is not None:
            return kept + known_words(below, list(rest))
    return kept


def _option(word: str, options: Mapping[str, click.Option], rest: Iterator[str]) -> list[str]:
    """An option with its values, which are taken from the `rest` of the words; nothing of an unknown one."""
    if not word.startswith("--"):
        return _letters(word, options, rest)
    name, sign, value = word.partition("=")
    known = [name] if name in options else [option for option in options if option.startswith(name)]
    return [known[0] + sign + value, *_values(options[known[0]], rest, bool(sign))] if len(known) == 1 else []


def _letters(word: str, options: Mapping[str, click.Option], rest: Iterator[str]) -> list[str]:
    """Options of one letter each, the last of which may have a value behind it."""
    for index, letter in enumerate(word[1:], 1):
        option = options.get(f"-{letter}")
        if option is None:
            return []
        if _takes_values(option):
            return [word, *_values(option, rest, index < len(word) - 1)]
    return [word]


def _values(option: click.Option, rest: Iterator[str], has_one: bool) -> list[str]:
    """The words that are the values of an option, which may begin as options do."""
    return list(islice(rest, option.nargs - has_one)) if _takes_values(option) else []


def _takes_values(option: click.Option) -> bool:
    return not option.is_flag and not option.count
