"""`nablac explain`: the page of a diagnostic."""

from __future__ import annotations

from typing import Annotated, TypedDict

import click

from nablac.commands.completions import complete_codes
from nablac.commands.options import output_options
from nablac.commands.output import print_json


class ExplainJson(TypedDict):
    """The page of a diagnostic."""

    code: Annotated[str, "such as `E303`"]
    page: Annotated[str, "its page, in Markdown"]


@click.command()
@click.argument("code", required=False, shell_complete=complete_codes)
@output_options
def command(code: str | None, as_json: bool, quiet: bool) -> int:
    """Explain a diagnostic code.

    Prints the page of a code such as E303. Without CODE, lists all codes.

    \b
    Example:
      nablac explain E301
    """
    from grammar.codes import declared
    from grammar.diagnostics import did_you_mean
    from specs import FOLDER

    codes = declared()
    if code is None:
        titles = {name: f"{name}: {declared_code.heading}" for name, declared_code in codes.items()}
        if as_json:
            print_json(titles)
        else:
            click.echo("\n".join(titles.values()))
        return 0
    name = code.upper() if code[:1].upper() in ("E", "W") else f"E{code}"
    if name not in codes:
        hint = did_you_mean(name, codes)
        raise click.UsageError(
            f"there is no diagnostic {code}" + (f"; {hint}" if hint else "; `nablac explain` lists all codes")
        )
    (page,) = (FOLDER / "diagnostics").glob(f"{name}-*.md")
    text = page.read_text("utf-8")
    print_json(ExplainJson(code=name, page=text)) if as_json else click.echo(text.rstrip())
    return 0
