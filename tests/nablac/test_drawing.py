"""Pictures of models: nothing overlaps, nothing is lost, nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import nablac
from compiler.build import elaborate, load
from compiler.graph import Graph
from nablac.commands import cli
from nablac.drawing.html import html
from nablac.drawing.layout import Picture, lay_out
from nablac.drawing.outline import BORDER, Box, Group, close_below, every_box, outline, readable_depth
from nablac.drawing.svg import svg
from nablac.drawing.text import dot, edges, mermaid

SPECS = Path(__file__).parents[2] / "specs"
NAMES = sorted(path.stem for path in SPECS.glob("*.model"))


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
        known = {box.number for box in group.boxes} | {BORDER}
        assert all(source in known and target in known for source, target in group.edges)
    for box in whole.boxes:
        ends = [
            target if source == box.number else source
            for source, target in whole.edges
            if box.number in (source, target)
        ]
        assert ends, f"{box.title} stands alone"


@pytest.mark.parametrize("name", NAMES)
def test_every_form_draws_every_model(name: str) -> None:
    whole = outline(graph_of(name))
    drawn = close_below(whole, readable_depth(whole))
    root = ElementTree.fromstring(svg(drawn, name))
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    for box in every_box(drawn):
        assert any(box.title in text for text in texts), box.title
    assert mermaid(drawn).count("-->") == len(edges(drawn)) == dot(drawn, name).count(" -> ")


def test_depth_closes_layers() -> None:
    whole = outline(graph_of("transformer"))
    counts = [sum(1 for _ in every_box(close_below(whole, depth))) for depth in range(4)]
    assert counts == sorted(counts) and counts[0] < counts[-1]
    assert all(box.inside is None for box in close_below(whole, 0).boxes)


def test_a_page_stands_alone() -> None:
    whole = outline(graph_of("lstm"))
    page = html(whole, "A <b> & c", 1)
    assert not re.search(r"(src|href)=|@import|url\((?!#)", page)
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) == {"http://www.w3.org/2000/svg"}
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert set(map(int, data["boxes"])) == {box.number for box in every_box(whole)}
    assert "A &lt;b&gt; &amp; c" in page


def test_layers_that_need_each_other_are_drawn() -> None:
    boxes = [Box(0, "layer", "a"), Box(1, "layer", "b"), Box(2, "output", "c")]
    group = Group(boxes, {(0, 1): ["x"], (1, 0): ["y"], (1, 2): ["z"]})
    check(lay_out(group))


def test_many_boxes_are_laid_out_soon() -> None:
    boxes = [Box(number, "operator", "add") for number in range(5000)]
    joined = {(number, number + step): ["f32[4]"] for number in range(4990) for step in (1, 2)}
    picture = lay_out(Group(boxes, joined))
    assert len(picture.boxes) == 5000


def test_mermaid_of_a_small_model(tmp_path: Path) -> None:
    file = tmp_path / "m.model"
    file.write_text("model M { input x: [batch, 3]; h = x -> Dense(4); output y = tanh(h) }\n")
    done = CliRunner().invoke(cli, ["draw", str(file), "--depth", "1"])
    assert done.exit_code == 0
    shown = [line for line in done.stdout.splitlines() if "classDef" not in line]
    assert shown == [
        "flowchart TB",
        '  n0(["x<br/>f32[batch, 3]"]):::input',
        '  subgraph n1["dense"]',
        '    n2["matmul<br/>W [3, 4]"]:::operator',
        '    n3["add<br/>b [4]"]:::operator',
        "  end",
        '  n4["tanh"]:::operator',
        '  n5(["y<br/>f32[batch, 4]"]):::output',
        '  n2 -->|"f32[batch, 4]"| n3',
        '  n0 -->|"f32[batch, 3]"| n2',
        '  n3 -->|"f32[batch, 4]"| n4',
        '  n4 -->|"f32[batch, 4]"| n5',
    ]


@pytest.mark.parametrize("ending", ["svg", "html", "mmd", "dot"])
def test_the_command_writes_each_kind(ending: str, tmp_path: Path) -> None:
    target = tmp_path / f"picture.{ending}"
    done = CliRunner().invoke(cli, ["draw", str(SPECS / "cnn.model"), "-o", str(target)])
    assert done.exit_code == 0 and target.stat().st_size > 500


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["draw", str(SPECS / "cnn.model"), "-o", str(tmp_path / "p.bmp")])
    assert done.exit_code == 2
    assert "`.bmp` is no kind of picture; the kinds are .svg, .html" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_the_picture_and_the_summary() -> None:
    shown = nablac.compile(SPECS / "lstm.model")._repr_html_()
    assert shown.startswith("<svg") and "scan" in shown and "parameters" in shown
