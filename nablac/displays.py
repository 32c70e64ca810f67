"""Texts and pictures that show themselves in a notebook: a text in a fixed-width font, a picture as a picture."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from pathlib import Path
from typing import Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

_FIXED_WIDTH = (
    "font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; "
    "line-height: 1.3; white-space: pre; overflow-x: auto; margin: 0"
)


class FixedText(str):
    """A text whose columns are aligned."""

    def _repr_html_(self) -> str:
        return fixed_width(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


class Picture(str):
    """An SVG picture as text."""

    def save(self, path: str | Path) -> None:
        """Write it to an SVG file, atomically; NablacError for the suffix of another format, and if that fails."""
        from nablac.output_suffixes import is_foreign
        from runtime.atomic_files import write_bytes

        target = Path(path)
        if is_foreign(target, (".svg",)):
            message = f"a picture is saved as SVG, which no `{target.suffix}` file holds"
            hint = f"name it {target.with_suffix('.svg')}: browsers and many programs convert it"
            raise NablacError(Diagnostic(codes.E904, message, place=str(target), hint=hint))
        write_bytes(target, self.encode())

    def _repr_html_(self) -> str:
        return as_image(self)

    def __repr__(self) -> str:
        return f"<Picture: {len(self):,} characters of SVG>"


def fixed_width(text: str) -> str:
    """HTML of a text in a fixed-width font."""
    return f'<pre style="{_FIXED_WIDTH}">{escape(text)}</pre>'


def as_image(svg: str) -> str:
    """HTML of an SVG as an image, so that its styles and ids do not meet those of the page."""
    return f'<img alt="" style="max-width: 100%" src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}">'
