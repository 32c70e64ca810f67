"""`nablac completion`: the script that lets a shell complete nablac's commands, options, files and names."""

from __future__ import annotations

from typing import Annotated, TypedDict

import click

from nablac.commands.completions import SHELLS, script_of
from nablac.commands.options import output_options
from nablac.commands.output import print_json


class CompletionJson(TypedDict):
    """The script of a shell."""

    shell: Annotated[str, "`bash`, `zsh` or `fish`"]
    script: Annotated[str, "what its start-up file evaluates"]


@click.command()
@click.argument("shell", type=click.Choice([*SHELLS]))
@output_options
def command(shell: str, as_json: bool, quiet: bool) -> int:
    """Print the script for completion in a shell.

    The shell then completes commands, options and their values, files, runs, and the names of specs, presets,
    hyperparameters and diagnostics. The line for your shell goes into its start-up file:

    \b
    bash, in ~/.bashrc                      eval "$(nablac completion bash)"
    zsh, in ~/.zshrc, behind compinit       eval "$(nablac completion zsh)"
    fish, in ~/.config/fish/config.fish     nablac completion fish | source

    \b
    Example:
      nablac completion bash > nablac.bash
    """
    script = script_of(shell, click.get_current_context().find_root().command)
    print_json(CompletionJson(shell=shell, script=script)) if as_json else click.echo(script)
    return 0
