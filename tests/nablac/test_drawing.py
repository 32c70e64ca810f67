"""Pictures of models: boxes do not overlap, none is missing, and pages are self-contained."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

import nablac
from compiler.elaborate.program import load
from compiler.graph import Graph
from nablac.drawing.box_layout import Picture, lay_out, text_width
from nablac.drawing.edge_names import points_of, positioned_names
from nablac.drawing.html import html
from nablac.drawing.outline import BORDER, Box, Group, close_below, every_box, outline, readable_depth
from nablac.drawing.svg import svg
from nablac.drawing.text import dot, edges, mermaid
from tests.command_line import invoke
from tests.models import elaborate
from tests.paths import SPECS

NAMES = sorted(path.stem for path in SPECS.glob("*.model"))


@cache
def graph_of(name: str) -> Graph:
    program = load(SPECS / f"{name}.model")
    return elaborate(program, model=program.models[0].name)


def check(picture: Picture) -> None:
    for placed in picture.boxes:
        assert placed.x >= 0 and placed.y >= 0
        assert placed.x + placed.width <= picture.width + 1e-6
        assert placed.y + placed.height <= picture.height + 1e-6
        if placed.inside is not None:
            assert placed.inside.width <= placed.width + 1e-6
            assert placed.inside.height <= placed.height
            check(placed.inside)
    for first, second in combinations(picture.boxes, 2):
        apart_x = first.x + first.width <= second.x or second.x + second.width <= first.x
        apart_y = first.y + first.height <= second.y or second.y + second.height <= first.y
        assert apart_x or apart_y, (first.box.title, second.box.title)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [0, 1, 9])
def test_boxes_lie_apart_and_inside(name: str, depth: int) -> None:
    check(lay_out(close_below(outline(graph_of(name)), depth)))


@pytest.mark.parametrize("name", NAMES)
def test_edges_join_boxes_of_their_group(name: str) -> None:
    whole = outline(graph_of(name))
    for group in [whole, *(box.inside for box in every_box(whole) if box.inside is not None)]:
        ends = {box.number for box in group.boxes} | {BORDER}
        assert all(source in ends and target in ends for source, target in group.edges)
    for box in whole.boxes:
        neighbours = [
            target if source == box.number else source
            for source, target in whole.edges
            if box.number in (source, target)
        ]
        assert neighbours, f"{box.title} has no edges"


@pytest.mark.parametrize("name", NAMES)
def test_every_format_draws_every_model(name: str) -> None:
    whole = outline(graph_of(name))
    drawn = close_below(whole, readable_depth(whole))
    root = ElementTree.fromstring(svg(drawn, name))
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for box in every_box(drawn):
        assert any(box.title in text for text in texts), box.title
    drawn_dot = dot(drawn, name)
    assert mermaid(drawn).count("-->") == len(edges(drawn)) == drawn_dot.count(" -> ") - drawn_dot.count("next step")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [0, 1, 9])
def test_the_texts_of_a_box_fit_into_it(name: str, depth: int) -> None:
    def check(picture: Picture, group: Group) -> None:
        for placed in picture.boxes:
            if placed.inside is None:
                leaving = {
                    label
                    for (source, _), values in group.edges.items()
                    if source == placed.box.number
                    for label in values.values()
                }
                assert leaving <= {*placed.box.lines, *placed.types}
                assert all(text_width(line, 11.0) < placed.width for line in (*placed.box.lines, *placed.types))
            else:
                assert placed.box.inside is not None
                check(placed.inside, placed.box.inside)

    drawn = close_below(outline(graph_of(name)), depth)
    check(lay_out(drawn), drawn)


def spans_of_names(group: ElementTree.Element) -> list[tuple[float, float, float]]:
    """The left, the right and the baseline of each name beside an edge of a picture."""
    spans = []
    for element in group.findall("{http://www.w3.org/2000/svg}text[@class='name']"):
        x, y, width = float(element.attrib["x"]), float(element.attrib["y"]), text_width(element.text or "", 10.0)
        left = x - width if element.attrib["text-anchor"] == "end" else x
        spans.append((left, left + width, y))
    return spans


@pytest.mark.parametrize("name", ["transformer", "translate"])
def test_names_beside_edges_lie_apart(name: str) -> None:
    picture = ElementTree.fromstring(svg(close_below(outline(graph_of(name)), 9), name))
    groups = [spans_of_names(group) for group in picture.iter("{http://www.w3.org/2000/svg}g")]
    assert any(len(spans) > 1 for spans in groups)
    for spans in groups:
        for (left, right, y), (other_left, other_right, other_y) in combinations(spans, 2):
            assert right <= other_left + 0.1 or other_right <= left + 0.1 or abs(y - other_y) > 9.8


def test_no_line_crosses_the_name_of_another() -> None:
    """In the picture of `translate`, where two lines lead to one layer."""
    lines = lay_out(close_below(outline(graph_of("translate")), 1)).edges
    names = positioned_names(lines)
    assert {"source", "target_in"} <= {text for text, _ in names}
    for text, name in names:
        assert not [
            other.name for other in lines if other.name != text and any(name.covers(*at) for at in points_of(other))
        ]


def edge_titles(text: str, depth: int = 9) -> set[tuple[str, str]]:
    """The edges of a model as pairs of the titles of their boxes."""
    whole = close_below(outline(elaborate(text)), depth)
    titles: dict[int, str] = {}

    def name(group: Group) -> None:
        for box in group.boxes:
            titles[box.number] = box.title
            if box.inside is not None:
                name(box.inside)

    name(whole)
    return {(titles[source], titles[target]) for source, target, _ in edges(whole)}


TWO_STATES = """
cell C() {
    input x: [batch, 3]
    state a, b: [batch, 3] = 0
    a' = a + x
    b' = b * 2
    output a'
}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (  # equal types, different dataflow
            TWO_STATES + "model M { input s: [batch, time, 3]; hs, a, b = scan(C())(s, axis: 1, states: true)\n"
            "    output last = tanh(b) }",
            "s>transpose transpose>x x>add a>add add>a' b>mul mul>b' b'>tanh tanh>last",
        ),
        (
            "layer L() { input p: [batch, 3], q: [batch, 3]\n    output sin(p), cos(q) }\n"
            "model M { input x, y: [batch, 3]; u, v = L()(x, y); output a = tanh(u); output b = exp(v) }",
            "x>sin y>cos sin>tanh cos>exp tanh>a exp>b",
        ),
        (  # a value from outside is an input of the step, a weight is not
            "cell C() { input x: [batch, 3], k: [batch, 3]\n    state h: [batch, 3] = 0\n    param W: [3, 3] = 0\n"
            "    h' = (h * k) @ W + x\n    output h' }\n"
            "model M { input s: [batch, time, 3], c: [batch, 3]; output y = scan(C())(s, axis: 1, k: tanh(c)) }",
            "s>transpose transpose>x c>tanh tanh>k h>mul k>mul mul>matmul matmul>add x>add add>h' add>output "
            "output>transpose transpose>y",
        ),
    ],
)
def test_edges_are_the_dataflow(text: str, expected: str) -> None:
    assert edge_titles(text) == {tuple(pair.split(">")) for pair in expected.split()}


def test_edges_end_at_the_innermost_box_drawn() -> None:
    text = TWO_STATES + "model M { input s: [batch, time, 3]; output y = scan(C())(s, axis: 1) }"
    assert edge_titles(text, 0) == {("s", "c"), ("c", "y")}
    assert edge_titles(text, 1) == {
        ("s", "transpose"),
        ("transpose", "scan"),
        ("scan", "transpose"),
        ("transpose", "y"),
    }


def test_weights_are_named_where_a_step_uses_them() -> None:
    (scan,) = [box for box in every_box(outline(graph_of("lstm"))) if box.kind == "scan"]
    assert scan.inside is not None
    lines = [line for box in scan.inside.boxes if box.kind == "operator" for line in box.lines]
    assert sorted(lines) == [f"W_{gate} [33, 32]" for gate in "cfio"] + [f"b_{gate} [32]" for gate in "cfio"]


def test_layers_inside_a_step_list_their_parameters() -> None:
    text = """
cell C() { input x: [batch, 3]; state h: [batch, 4] = 0; h' = h + (x -> Dense(4)); output h' }
model M { input s: [batch, time, 3]; output y = scan(C())(s, axis: 1) }
"""
    boxes = {box.title: box for box in every_box(outline(elaborate(text)))}
    assert boxes["c"].lines == ["16 parameters"]
    assert boxes["dense"].lines == ["W [3, 4]", "b [4]"]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_model_is_drawn_as_it_was_compiled(dtype: str) -> None:
    assert f"{dtype}[batch, 1]" in nablac.compile(SPECS / "forecaster.model", dtype=dtype).draw()
    assert "random" in nablac.compile(SPECS / "forecaster.model", dtype=dtype, training=True).draw(9)


def test_boxes_have_the_names_of_equations_and_the_kinds_of_layers() -> None:
    headings = [box.heading for box in every_box(outline(graph_of("lstm")))]
    assert [text for text in headings if "sigmoid" in text] == ["o = sigmoid", "f = sigmoid", "i = sigmoid"]
    assert {"z = concat", "c' = add", "h' = mul", "memory_cell: MemoryCell", "dense: Dense"} <= set(headings)


def test_a_recurrence_has_a_loop_for_each_state() -> None:
    whole = outline(graph_of("lstm"))
    (scan,) = [box for box in every_box(whole) if box.kind == "scan"]
    assert scan.inside is not None
    titles = {box.number: box.title for box in scan.inside.boxes}
    assert [(titles[source], titles[target]) for source, target in scan.inside.loops] == [("h'", "h"), ("c'", "c")]
    picture = lay_out(scan.inside)
    boxes = {placed.box.number: placed for placed in picture.boxes}
    for (source, target), corners in zip(scan.inside.loops, picture.loops, strict=True):
        start, end = boxes[source], boxes[target]
        assert corners[0] == (start.x + start.width, start.y + start.height / 2)
        assert end.x < corners[-1][0] < end.x + end.width and corners[-1][1] == end.y
        assert max(x for x, _ in corners) > max(placed.x + placed.width for placed in picture.boxes)
    assert svg(whole, "lstm").count('class="loop"') == 2
    assert mermaid(whole).count("-. next step .->") == dot(whole, "lstm").count("style=dashed") == 2


THREE_STATES = """
cell C() { input x: [batch, 2]; state h, n, c: [batch, 2] = 0; param w: [2] = 1
    h' = tanh(x * w + h); n' = tanh(x + n); c' = c * w + x; output h', n', c' }
model M { input xs: [batch, time, 2]; a, b, e = scan(C())(xs, axis: 1); output y = a + b + e }
"""


def test_a_loop_passes_no_box() -> None:
    (scan,) = [box for box in every_box(outline(elaborate(THREE_STATES))) if box.kind == "scan"]
    assert scan.inside is not None
    picture = lay_out(scan.inside)
    boxes = {placed.box.number: placed for placed in picture.boxes}
    for (source, target), corners in zip(scan.inside.loops, picture.loops, strict=True):
        first, *_, last = corners
        start, end = boxes[source], boxes[target]
        assert start.x < first[0] <= start.x + start.width and start.y < first[1] <= start.y + start.height
        assert end.x < last[0] < end.x + end.width and last[1] == end.y
        for (x, y), (to_x, to_y) in pairwise(corners):
            for box in picture.boxes:
                beside = max(x, to_x) <= box.x or min(x, to_x) >= box.x + box.width
                assert beside or max(y, to_y) <= box.y or min(y, to_y) >= box.y + box.height, box.box.title
        assert max(y for _, y in corners) < picture.height


def test_the_uses_of_a_layer_are_told_apart() -> None:
    text = (
        "model M { input left, right: [batch, 4]; shared = Dense(8, tanh); a = shared(left); b = shared(right)\n"
        "    output y = a - b }"
    )
    whole = outline(elaborate(text))
    (layer,) = [box for box in whole.boxes if box.kind == "layer"]
    assert layer.inside is not None
    outer = {edge: name for edge, name in whole.edge_names().items() if layer.number in edge}
    assert sorted(outer.values()) == ["a, b", "left", "right"]
    inner = layer.inside.edge_names()
    assert sorted(name for (source, _), name in inner.items() if source == BORDER) == ["left", "right"]
    assert sorted(name for (_, target), name in inner.items() if target == BORDER) == ["a", "b"]
    entering = [line.points[0] for line in lay_out(layer.inside).edges if line.name in ("left", "right")]
    assert len(set(entering)) == 2  # each above where it goes


def test_a_layer_is_one_box_that_counts_its_uses(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text(
        "layer Twice() { input x: [batch, 4]; inner = Dense(4); output x -> inner -> inner }\n"
        "model M { input x: [batch, 4]; block = Twice(); output y = x -> block -> block -> Dense(4) }"
    )
    for depth, headings in (("0", ["block: Twice, used 2 times"]), ("1", ["inner: Dense, used 4 times"])):
        shown = invoke("draw", "m.model", "--depth", depth, folder=tmp_path).stdout
        assert [heading for heading in headings if f'"{heading}' not in shown] == []
        assert '"dense: Dense<br/>' in shown or '["dense: Dense"]' in shown
    recurrent = invoke("draw", "lstm", "--depth", "1", folder=tmp_path).stdout
    assert "used" not in recurrent  # a step is one use


def test_latex_says_its_mode(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text("model M { input x: [batch, 4]; output y = x -> Dense(4) -> Dropout(0.5) }")
    shown = invoke("draw", "m.model", "--latex", folder=tmp_path).stdout
    assert shown.startswith("% M: its equations in inference mode, in the order in which they are computed\n")


def test_pictures_have_dark_colors() -> None:
    whole = outline(graph_of("lstm"))
    root = ElementTree.fromstring(svg(whole, "lstm"))
    (style,) = root.iter("{http://www.w3.org/2000/svg}style")
    assert style.text is not None and "prefers-color-scheme: dark" in style.text
    styled = set(re.findall(r"\.([\w-]+)", style.text))
    used = {name for element in root.iter() for name in element.get("class", "").split()}
    assert used <= styled | {"box"} and styled <= used | {"name"}
    assert style.text in html(whole, "lstm", 1)


def test_depth_closes_layers() -> None:
    whole = outline(graph_of("transformer"))
    counts = [sum(1 for _ in every_box(close_below(whole, depth))) for depth in range(4)]
    assert counts == sorted(counts) and counts[0] < counts[-1]
    assert all(box.inside is None for box in close_below(whole, 0).boxes)


def test_a_page_is_self_contained() -> None:
    whole = outline(graph_of("lstm"))
    page = html(whole, "A <b> & c", 1)
    assert not re.search(r"(src|href)=|@import|url\((?!#)", page)
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) == {"http://www.w3.org/2000/svg"}
    script = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert script is not None
    data = json.loads(script[1])
    assert set(re.findall(r"\bs\.(\w+)", page)) == set(data["sizes"])
    assert set(map(int, data["boxes"])) == {box.number for box in every_box(whole)}
    assert "A &lt;b&gt; &amp; c" in page


def test_layers_that_depend_on_each_other_are_drawn() -> None:
    boxes = [Box(0, "layer", "a"), Box(1, "layer", "b"), Box(2, "output", "c")]
    group = Group(boxes, {(0, 1): {"x": "i64"}, (1, 0): {"y": "i64"}, (1, 2): {"z": "i64"}})
    check(lay_out(group))


def test_many_boxes_are_laid_out() -> None:
    boxes = [Box(number, "operator", "add") for number in range(5000)]
    connections = {(number, number + step): {number: "f32[4]"} for number in range(4990) for step in (1, 2)}
    picture = lay_out(Group(boxes, connections))
    assert len(picture.boxes) == 5000


def test_mermaid_of_a_small_model(tmp_path: Path) -> None:
    file = tmp_path / "m.model"
    file.write_text("model M { input x: [batch, 3]; h = x -> Dense(4); output y = tanh(h) }\n")
    done = invoke("draw", file, "--depth", "1")
    assert done.exit_code == 0
    shown = [line for line in done.stdout.splitlines() if "classDef" not in line]
    assert shown == [
        "flowchart TB",
        '  n0(["x<br/>f32[batch, 3]"]):::input',
        '  subgraph n1["dense: Dense"]',
        '    n2["y = matmul<br/>W [3, 4]"]:::operator',
        '    n3["y = add<br/>b [4]"]:::operator',
        "  end",
        '  n4["y = tanh"]:::operator',
        '  n5(["y<br/>f32[batch, 4]"]):::output',
        '  n2 -->|"f32[batch, 4]"| n3',
        '  n0 -->|"f32[batch, 3]"| n2',
        '  n3 -->|"f32[batch, 4]"| n4',
        '  n4 -->|"f32[batch, 4]"| n5',
    ]


@pytest.mark.parametrize("ending", ["svg", "html", "mmd", "dot"])
def test_the_command_writes_each_format(ending: str, tmp_path: Path) -> None:
    target = tmp_path / f"picture.{ending}"
    done = invoke("draw", SPECS / "cnn.model", "-o", target)
    assert done.exit_code == 0 and target.stat().st_size > 500


def test_a_graph_as_text_is_drawn_before_or_after_optimisation(tmp_path: Path) -> None:
    for name, options in {"before": [], "after": ["--optimised"]}.items():
        target = tmp_path / f"{name}.txt"
        done = invoke("draw", SPECS / "lstm.model", "-o", target, *options)
        assert done.exit_code == 0 and done.stderr == f"{target}: Memory as text\n"
    before, after = ((tmp_path / f"{name}.txt").read_text() for name in ("before", "after"))
    assert " = scan" in before and " = lstm" not in before and " = lstm" in after and " = scan" not in after
    assert f"  # memory_cell {SPECS}/lstm.model:25:16\n" in after


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    done = invoke("draw", SPECS / "cnn.model", "-o", tmp_path / "p.bmp")
    assert done.exit_code == 2
    assert "`.bmp` is not a picture format; the formats are .svg, .html" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_the_picture_and_the_summary() -> None:
    page = nablac.compile(SPECS / "lstm.model")._repr_html_()
    match = re.match(r'<img [^>]*src="data:image/svg\+xml;base64,([^"]*)"', page)
    assert match is not None and "scan" in base64.b64decode(match[1]).decode() and "parameters" in page
