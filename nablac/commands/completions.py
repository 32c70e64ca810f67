"""What a shell completes: paths, runs, and the names in a model's file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from nablac.commands.known_words import known_words
from nablac.commands.option_types import NamedPath

VARIABLE = "_NABLAC_COMPLETE"  # set by the script of a shell when it asks for completions
_MOST = 1_000  # entries of a folder, and runs


# With `filenames` bash itself escapes what it inserts, and puts a slash behind a folder and a space behind a file.
_BASH = """\
%(complete_func)s() {
    local completion value response IFS=$' \\t\\n'
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS= read -r completion; do
        value=${completion#*,}
        case $completion in
            path,*) compopt -o filenames 2>/dev/null ;;
            plain,*=) compopt -o nospace 2>/dev/null ;;  # the value follows
            plain,*) [[ ${COMP_WORDS[COMP_CWORD]} == [\\"\\']* ]] || printf -v value %%q "$value" ;;
            file,*) compopt -o default 2>/dev/null; continue ;;
            dir,*) compopt -o dirnames 2>/dev/null; continue ;;
            *) continue ;;
        esac
        COMPREPLY+=("$value")
    done <<< "$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _KnownWords(ShellComplete):
    """Completion that an unknown option earlier in the line leaves as it is."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """The completions of the word `incomplete` behind these."""
        return super().get_completions(known_words(self.cli, args), incomplete)


class BashWords(_KnownWords, BashComplete):
    """Completion in bash, which takes `layer=G` for three words, and replaces the last of them."""

    source_template = _BASH
    _kept = ""  # what the shell keeps before the word that it replaces

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words before the cursor, and the one that it is in."""
        words, index = split_arg_string(os.environ["COMP_WORDS"]), int(os.environ["COMP_CWORD"])
        words += [""] * (index + 1 - len(words))
        joined: list[str] = []
        for position, word in enumerate(words[: index + 1]):
            if position and (word == "=" or words[position - 1] == "="):
                self._kept, joined[-1] = joined[-1] + word * (word == "="), joined[-1] + word
            else:
                self._kept = ""
                joined.append(word)
        return joined[1:-1], joined[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """A completion without what the shell keeps."""
        return f"{'path' if item.is_path else item.type},{item.value.removeprefix(self._kept)}"

    @staticmethod
    def _check_version() -> None:
        """Nothing: click would start bash to ask it for its version."""


class _ZshWords(_KnownWords, ZshComplete):
    pass


class _FishWords(_KnownWords, FishComplete):
    pass


SHELLS: dict[str, type[ShellComplete]] = {"bash": BashWords, "zsh": _ZshWords, "fish": _FishWords}


def script_of(shell: str, command: click.Command) -> str:
    """The script with which a shell asks `nablac` for completions."""
    return SHELLS[shell](command, {}, "nablac", VARIABLE).source()


def answer_shell(command: click.Command) -> None:
    """Print the completions that the script of a shell asks for; none for a line in which something is wrong.

    The user is in the middle of a line, so that nothing else may be printed.
    """
    shell, _, what = os.environ[VARIABLE].partition("_")  # as click has it; `bash_source` asks for the script
    if shell not in SHELLS:
        return
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            asked = SHELLS[shell](command, {}, "nablac", VARIABLE)
            text = asked.source() if what == "source" else asked.complete()
        click.echo(text)
        sys.stdout.flush()
    except Exception:
        if os.environ.get("NABLAC_DEBUG"):
            raise


def path_items(paths: Iterable[str]) -> list[CompletionItem]:
    """Paths as completions, of which bash escapes spaces and the like; each once."""
    return [CompletionItem(path, is_path=True) for path in dict.fromkeys(paths)]


def matching_paths(incomplete: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """The folders, with a slash, and the files with these suffixes, whose paths begin with `incomplete`."""
    folder, start = os.path.split(os.path.expanduser(incomplete))
    try:
        with os.scandir(folder or ".") as entries:
            listed = sorted((entry.name, entry.is_dir()) for _, entry in zip(range(_MOST), entries, strict=False))
    except OSError:
        return
    for name, is_folder in listed:
        if name.startswith(start) and (start or not name.startswith(".")):
            if is_folder or name.endswith(suffixes):
                yield os.path.join(folder, name) + ("/" if is_folder else "")


def run_folders(incomplete: str) -> Iterator[str]:
    """The runs in `runs/MODEL/N` whose paths begin with `incomplete`, the newest first."""
    records = sorted(Path("runs").glob("*/*/run.json"), key=_written, reverse=True)
    for record in records[:_MOST]:
        if str(record.parent).startswith(incomplete):
            yield str(record.parent)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class RunPath(NamedPath):
    """The folder of a run."""

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The runs below `runs`, and other folders."""
        runs = list(run_folders(incomplete))
        return path_items([*runs, *(path for path in matching_paths(incomplete, ("/",)) if path[:-1] not in runs)])


def complete_codes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The codes of diagnostics, with their headings."""
    from grammar.codes import declared

    codes = declared().items()
    return [CompletionItem(name, help=code.heading) for name, code in codes if name.startswith(incomplete.upper())]


def complete_passes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of compiler passes."""
    from compiler.passes.pipeline import names_to_disable

    return [CompletionItem(name) for name in names_to_disable() if name.startswith(incomplete)]


def complete_rules(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The rename rules that come with the library, and files."""
    from runtime.rename_rules import shipped_rules

    shipped = [name for name in shipped_rules() if name.startswith(incomplete)]
    return path_items([*shipped, *matching_paths(incomplete, (".rules", ".txt"))])


def complete_inputs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, which the shell lists itself, also behind the `name=` of an input."""
    name, sign, path = incomplete.partition("=")
    named = path_items(f"{name}={path}" for path in matching_paths(path, ("",))) if sign else []
    return named or [CompletionItem(incomplete, type="file")]


def complete_trackers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The trackers that installed packages offer."""
    from nablac.trackers.tracker_entries import tracker_names

    return [CompletionItem(name) for name in tracker_names() if name.startswith(incomplete)]
