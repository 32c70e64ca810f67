"""Pages are whole in themselves, well formed, and show texts as they are."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import numpy as np
import pytest

from runtime.charts.lines import Series, line_chart
from runtime.charts.page import (
    Code,
    Facts,
    Figures,
    Folded,
    Paragraph,
    Part,
    Picture,
    Pictures,
    Section,
    Table,
    page,
)
from runtime.charts.png import png

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
EVIL = "</style></title><script>alert('1')</script> & \"x\" \x00\x1b"
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """The elements of a page with their attributes and texts; `unclosed` are those that never end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.unclosed: list[str] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        self.unclosed = [self.elements[index][0] for index in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        index = self._open.pop()
        assert self.elements[index][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(texts)) for name, attributes, texts in self.elements if name == tag]


def read(parts: list[Part], **more: str) -> Reader:
    return Reader(page("Report", [Section("One", parts)], **more))


def chart() -> Figures:
    return Figures([line_chart("Loss", [Series("run", [1, 2], [3, 1])])], caption="of a run")


EVERY: list[Part] = [
    Paragraph(EVIL),
    Facts([(EVIL, EVIL), ("mae", "1.5", EVIL)]),
    Table([EVIL, "b"], [[EVIL, "1"]], caption=EVIL),
    Figures([line_chart(EVIL, [Series(EVIL, [1, 2], [3, 1], style="dots", tips=[EVIL])])], caption=EVIL),
    Picture(PNG, EVIL, EVIL),
    Pictures([Picture(PNG, EVIL)]),
    Code(EVIL, diff=True),
    Folded(EVIL, [Paragraph(EVIL)]),
]


def test_a_page_is_well_formed_and_every_text_is_a_text() -> None:
    reader = Reader(page(EVIL, [Section(EVIL, EVERY)] * 4, subtitle=EVIL, footer=EVIL))
    assert reader.unclosed == []
    assert reader.of("script") == []
    shown = EVIL.replace("\x00", " ").replace("\x1b", " ")
    for tag in ("h1", "h2", "p", "dt", "th", "caption", "figcaption", "pre", "summary", "footer", "a"):
        assert reader.of(tag)[0][1] == shown, tag
    assert reader.of("img")[0][0]["alt"] == shown
    assert sum(tag == "title" for tag, _, _ in reader.elements) > 1 and reader.of("title")[0][1] == shown


def test_a_page_loads_nothing_and_allows_nothing_to_be_loaded() -> None:
    text = page("Report", [Section("One", EVERY)])
    reader = Reader(text)
    assert {tag for tag, _, _ in reader.elements}.isdisjoint({"script", "link", "iframe", "object"})
    addresses = [
        value for _, attributes, _ in reader.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert addresses and all((value or "").startswith(("data:image/png;base64,", "#")) for value in addresses)
    assert "url(" not in text and "@import" not in text
    (policy,) = [attributes["content"] for attributes, _ in reader.of("meta") if attributes.get("http-equiv")]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_a_page_is_light_or_dark_as_the_reader_likes_and_light_on_paper() -> None:
    ((_, style),) = read([chart()]).of("style")
    assert style.count("@media screen and (prefers-color-scheme: dark)") == 2  # of the page and of its charts
    assert "@media print" in style and "{{" not in style
    assert style.count("{") == style.count("}")


def test_a_page_is_to_be_read_aloud() -> None:
    reader = Reader(page("Report", [Section("One", EVERY), Section("Two", [])]))
    assert reader.of("html")[0][0]["lang"] == "en"
    assert len(reader.of("h1")) == 1 and len(reader.of("main")) == 1
    headings = {attributes["id"]: text for attributes, text in reader.of("h2")}
    assert [headings[attributes["aria-labelledby"]] for attributes, _ in reader.of("section")] == ["One", "Two"]
    assert all(attributes["role"] == "img" for attributes, _ in reader.of("svg"))
    assert {attributes.get("scope") for attributes, _ in reader.of("th")} == {"col", "row"}


def test_many_sections_have_a_list_of_links() -> None:
    reader = Reader(page("Report", [Section(f"Part {number}", []) for number in range(1, 6)]))
    assert [attributes["href"] for attributes, _ in reader.of("a")] == [f"#section-{number}" for number in range(1, 6)]
    assert read([]).of("nav") == []


def test_columns_of_numbers_are_aligned_at_the_right() -> None:
    rows = [["1", "0.25", "a", "1.5 s", "", "12%"], ["2", "-1e-5", "2", "3 min", "7", "–"]]
    reader = read([Table(["n", "loss", "name", "time", "epochs", "share"], rows, strong=[1])])
    heads = [attributes.get("class") for attributes, _ in reader.of("th")][:6]
    assert heads == [None, "number", None, "number", "number", "number"]
    assert [attributes.get("class") for attributes, _ in reader.of("tr")] == [None, None, "strong"]


def test_columns_of_long_texts_have_several_lines() -> None:
    reader = read([Table(["n", "text"], [["1", "word " * 20], ["2", "word"]])])
    assert [attributes.get("class") for attributes, _ in reader.of("td")] == ["long", "long"]


def test_lines_of_a_diff_are_new_or_gone() -> None:
    reader = read([Code("@@ -1 +1 @@\n-a\n+b\n c", diff=True)])
    assert [(attributes["class"], text) for attributes, text in reader.of("span")] == [
        ("quiet", "@@ -1 +1 @@"),
        ("gone", "-a"),
        ("new", "+b"),
    ]
    assert reader.of("pre")[0][1] == "@@ -1 +1 @@\n-a\n+b\n c"


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (PNG, "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF89a", "gif"),
        (b"RIFF1234WEBP", "webp"),
        (b"BM12", "bmp"),
    ],
)
def test_a_picture_is_in_the_page(start: bytes, kind: str) -> None:
    ((attributes, _),) = read([Picture(start, "a digit", "3 taken for 8")]).of("img")
    assert attributes["src"] == f"data:image/{kind};base64,{base64.b64encode(start).decode()}"
    assert attributes["alt"] == "a digit"


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"RIFF1234WAVE"])
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="the picture is neither PNG"):
        read([Picture(content, "")])


@pytest.mark.parametrize(("width", "css"), [(1, "tiny"), (64, "tiny"), (65, None)])
def test_the_pixels_of_a_tiny_picture_are_seen(width: int, css: str | None) -> None:
    ((attributes, _),) = read([Picture(png(np.zeros((1, 2, width))), "")]).of("img")
    assert attributes.get("class") == css
