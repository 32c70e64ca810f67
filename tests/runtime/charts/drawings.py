"""Charts taken apart: their marks, texts and axes, as a reader of XML sees them."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from runtime.charts.elements import text_width
from runtime.charts.panel import Chart

SVG = "{http://www.w3.org/2000/svg}"


def parsed(chart: Chart) -> Element:
    """The root of a chart's file; its inline form parses too."""
    ElementTree.fromstring(chart.inline())
    return ElementTree.fromstring(chart.svg())


def elements(root: Element, tag: str) -> list[Element]:
    return list(root.iter(SVG + tag))


def of_color(root: Element, tag: str, color: str) -> list[Element]:
    """Those of a tag that are filled with a colour of the palette, or drawn in it."""
    wanted = {f"fill-{color}", f"stroke-{color}"}
    return [node for node in elements(root, tag) if wanted & set(node.get("class", "").split())]


def texts(root: Element) -> list[str]:
    return [node.text or "" for node in elements(root, "text")]


def number(element: Element, attribute: str) -> float:
    return float(element.get(attribute, "nan"))


def points(line: Element) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in line.get("points", "").split())
    return [(float(x), float(y)) for x, y in pairs]


def label(root: Element, words: str) -> Element:
    """The one text of these words."""
    (match,) = [node for node in elements(root, "text") if node.text == words]
    return match


def tips(root: Element) -> list[str]:
    """What marks show when they are pointed at."""
    marks = ("circle", "rect", "polyline")
    return [title.text or "" for mark in marks for node in elements(root, mark) for title in node.iter(SVG + "title")]


def outside(root: Element) -> Iterator[str]:
    """What is not inside of the drawing, with some pixels for how roughly texts are measured."""
    width, height = number(root, "width"), number(root, "height")
    for node in root.iter():
        tag = node.tag.removeprefix(SVG)
        corners: list[tuple[float, float]] = []
        if tag == "text" and "transform" not in node.attrib:
            wide = text_width(node.text or "", number(node, "font-size"), node.get("font-weight") == "600")
            start = {"start": 0.0, "middle": 0.5, "end": 1.0}[node.get("text-anchor", "start")]
            x, y = number(node, "x") - start * wide, number(node, "y")
            corners = [(x, y - number(node, "font-size") * 0.8), (x + wide, y)]
        elif tag == "circle":
            corners = [(number(node, "cx"), number(node, "cy"))]
        elif tag == "rect":
            x, y = number(node, "x"), number(node, "y")
            corners = [(x, y), (x + number(node, "width"), y + number(node, "height"))]
            if min(number(node, "width"), number(node, "height")) < 0:
                yield f"{ElementTree.tostring(node)!r} has a negative size"
        elif tag == "line":
            corners = [(number(node, "x1"), number(node, "y1")), (number(node, "x2"), number(node, "y2"))]
        elif tag == "polyline":
            corners = points(node)
        for x, y in corners:
            if not (-2 <= x <= width + 2 and -2 <= y <= height + 2):
                yield f"{ElementTree.tostring(node)!r} is outside of {width} x {height}"
