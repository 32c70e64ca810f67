"""Specs by name: a file of the folder, or a spec that comes with nablac."""

from __future__ import annotations

from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, nearest


def shipped_specs() -> dict[str, Path]:
    """The specs that come with nablac, by name."""
    from specs import FOLDER

    return {path.stem: path for path in sorted(FOLDER.glob("*.model"))}


def model_named(path: Path) -> Path:
    """The file or folder that a path names.

    A word without a folder and a suffix names the `.model` file of this name, or else a spec that comes with nablac.
    NablacError if there is neither.
    """
    name = str(path)
    if name == "-" or name != path.name or path.suffix or path.exists():
        return path
    own = path.with_suffix(".model")
    if own.is_file():
        return own
    specs = shipped_specs()
    if name in specs:
        return specs[name]
    near = nearest(name, specs)
    hint = f"did you mean `{near}`?" if near else f"the specs that come with nablac are {', '.join(specs)}"
    message = f"there is no file `{name}`, no file `{own}`, and no spec of this name"
    raise NablacError(Diagnostic(codes.E901, message, place=name, hint=hint))


def is_shipped(path: Path) -> bool:
    """Whether a file comes with nablac, so that results are not written beside it."""
    from specs import FOLDER

    return path.parent == FOLDER
