"""`nablac explain`: the page of a diagnostic."""

from __future__ import annotations

import click

from nablac.commands.options import output_options
from nablac.commands.output import print_json


@click.command()
@click.argument("code", required=False)
@output_options
def command(code: str | None, as_json: bool, quiet: bool) -> int:
    """Explain a diagnostic's code, as E303; without one, list them all."""
    from grammar.codes import declared
    from grammar.diagnostics import did_you_mean
    from specs import FOLDER

    codes = declared()
    if code is None:
        titles = {name: f"{name}: {each.heading}" for name, each in codes.items()}
        if as_json:
            print_json(titles)
        else:
            click.echo("\n".join(titles.values()))
        return 0
    wanted = code.upper() if code.upper().startswith("E") else f"E{code}"
    if wanted not in codes:
        hint = did_you_mean(wanted, codes)
        raise click.UsageError(
            f"there is no diagnostic {code}" + (f"; {hint}" if hint else "; `nablac explain` lists them")
        )
    (page,) = (FOLDER / "diagnostics").glob(f"{wanted}-*.md")
    text = page.read_text("utf-8")
    print_json({"code": wanted, "page": text}) if as_json else click.echo(text.rstrip())
    return 0
