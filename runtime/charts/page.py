"""A report as one HTML file: sections of texts, tables, charts and pictures, with nothing to load and no script."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as escape_markup

from runtime.charts.elements import FONT
from runtime.charts.page_style import STYLE
from runtime.charts.palette import dark_rules
from runtime.charts.panel import Chart

_KINDS = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "gif": re.compile(rb"GIF8"),
    "webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "bmp": re.compile(rb"BM"),
}
_NUMERIC = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?[%a-zµ]{1,3})?|[-+]?∞|NaN|–|")
_TINY = 64  # pixels; narrower pictures show their pixels
_LONG = 60  # letters; longer cells have several lines
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text; a `quiet` one is small and grey."""

    text: str
    quiet: bool = False

    def html(self) -> str:
        """As markup."""
        return _tag("p", _escape(self.text), css="quiet" if self.quiet else "")


@dataclass(frozen=True)
class Facts:
    """The most important figures: names, values, and optional notes."""

    facts: Sequence[tuple[str, str] | tuple[str, str, str]]

    def html(self) -> str:
        """As markup."""
        rows = []
        for name, value, *more in self.facts:
            notes = "".join(_tag("dd", _escape(note), css="quiet") for note in more)
            rows.append(_tag("div", _tag("dt", _escape(name)) + _tag("dd", _escape(value)) + notes))
        return _tag("dl", "".join(rows), css="facts")


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header; the first column names its row.

    Columns of numbers are aligned at the right, and long texts have several lines.

    `strong` are the indices of rows that stand out.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    strong: Iterable[int] = ()

    def html(self) -> str:
        """As markup."""
        columns = [[row[column] for row in self.rows] for column in range(len(self.header))]
        css = [_kind(column) if index else "" for index, column in enumerate(columns)]
        head = "".join(
            _tag("th", _escape(name), css=css[column], scope="col") for column, name in enumerate(self.header)
        )
        strong, body = set(self.strong), []
        for index, row in enumerate(self.rows):
            cells = [
                _tag("th" if column == 0 else "td", _escape(cell), css=css[column], scope="row" if column == 0 else "")
                for column, cell in enumerate(row)
            ]
            body.append(_tag("tr", "".join(cells), css="strong" if index in strong else ""))
        caption = _tag("caption", _escape(self.caption)) if self.caption else ""
        content = caption + _tag("thead", _tag("tr", head)) + _tag("tbody", "\n".join(body))
        narrow = " narrow" if len(self.header) <= 2 else ""
        return _tag("div", _tag("table", content), css="scrolled" + narrow, tabindex="0")


def _kind(column: Sequence[str]) -> str:
    """The CSS class of a column, by its contents."""
    if any(column) and all(_NUMERIC.fullmatch(cell) for cell in column):
        return "number"
    return "long" if any(len(cell) > _LONG for cell in column) else ""


@dataclass(frozen=True)
class Figures:
    """Charts side by side, as many in a row as there is room for."""

    charts: Sequence[Chart]
    caption: str = ""

    def html(self) -> str:
        """As markup."""
        figures = []
        for chart in self.charts:
            least = f"min-width:{min(chart.width * 0.75, 640):.0f}px;max-width:{chart.width * 1.09:.0f}px"
            drawing = _tag("div", chart.inline(), css="scrolled")
            wide = "wide" if chart.width > 560 else ""
            figures.append(_tag("figure", drawing.replace("<svg ", f'<svg style="{least}" ', 1), css=wide))
        caption = Paragraph(self.caption, quiet=True).html() if self.caption else ""
        return _tag("div", "".join(figures), css="figures") + caption


@dataclass(frozen=True)
class Picture:
    """An image file (PNG, JPEG, GIF, WebP, BMP) in the page itself; `description` is its alternative text."""

    content: bytes
    description: str
    caption: str = ""

    def html(self) -> str:
        """As markup. ValueError for bytes of another kind."""
        kind = next((kind for kind, start in _KINDS.items() if start.match(self.content)), None)
        if kind is None:
            raise ValueError("the picture is neither PNG, JPEG, GIF, WebP nor BMP")
        source = f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"
        width = int.from_bytes(self.content[16:20]) if kind == "png" else _TINY + 1
        image = _tag("img", None, css="tiny" if width <= _TINY else "", src=source, alt=self.description)
        return _tag("figure", image + (_tag("figcaption", _escape(self.caption)) if self.caption else ""))


@dataclass(frozen=True)
class Pictures:
    """Small pictures side by side."""

    pictures: Sequence[Picture]

    def html(self) -> str:
        """As markup."""
        return _tag("div", "".join(picture.html() for picture in self.pictures), css="pictures")


@dataclass(frozen=True)
class Code:
    """A text in a monospaced font, unchanged; added and removed lines of a `diff` are coloured."""

    text: str
    diff: bool = False

    def html(self) -> str:
        """As markup."""
        lines = [_escape(line) for line in self.text.splitlines()]
        if self.diff:
            kinds = {"+": "new", "-": "gone", "@": "quiet"}
            lines = [_tag("span", line, css=kinds[line[0]]) if line[:1] in kinds else line for line in lines]
        return _tag("pre", "\n".join(lines), tabindex="0")


@dataclass(frozen=True)
class Folded:
    """Parts that are hidden until the summary is clicked."""

    summary: str
    parts: Sequence[Part]

    def html(self) -> str:
        """As markup."""
        return _tag("details", _tag("summary", _escape(self.summary)) + "\n".join(part.html() for part in self.parts))


Part = Paragraph | Facts | Table | Figures | Picture | Pictures | Code | Folded


@dataclass(frozen=True)
class Section:
    """A heading and its parts."""

    heading: str
    parts: Sequence[Part]


def page(title: str, sections: Sequence[Section], *, subtitle: str = "", footer: str = "") -> str:
    """The HTML file. All texts are plain: markup in them is shown as it is."""
    body = [_tag("h1", _escape(title))]
    if subtitle:
        body.append(_tag("p", _escape(subtitle), css="quiet"))
    if len(sections) > 3:
        links = [
            _tag("a", _escape(section.heading), href=f"#section-{number}") for number, section in enumerate(sections, 1)
        ]
        body.append(_tag("nav", " ".join(links), aria_label="Sections"))
    parts = [_tag("header", "\n".join(body))]
    for number, section in enumerate(sections, 1):
        heading = _tag("h2", _escape(section.heading), id=f"section-{number}")
        content = "\n".join(part.html() for part in section.parts)
        parts.append(_tag("section", f"{heading}\n{content}", aria_labelledby=f"section-{number}"))
    if footer:
        parts.append(_tag("footer", _escape(footer)))
    content = "\n".join(parts)
    style = STYLE.replace("{{font}}", FONT) + dark_rules(content)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{_escape(title)}</title>\n<style>\n{style}\n</style>\n</head>\n"
        f"<body>\n<main>\n{content}\n</main>\n</body>\n</html>\n"
    )


def _tag(name: str, content: str | None, css: str = "", **attributes: str) -> str:
    """An HTML element; empty attributes are left out; without content it has no end tag."""
    written = {"class": css} | {key.replace("_", "-"): value for key, value in attributes.items()}
    head = "".join(f' {key}="{_escape(value, quote=True)}"' for key, value in written.items() if value)
    return f"<{name}{head}>" if content is None else f"<{name}{head}>{content}</{name}>"


def _escape(content: str, quote: bool = False) -> str:
    """Plain text as markup; control characters, which HTML forbids, become spaces."""
    shown = "".join(letter if letter.isprintable() or letter in "\t\n" else " " for letter in content)
    return escape_markup(shown, quote)
