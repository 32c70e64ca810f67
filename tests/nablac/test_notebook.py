"""The notebook in `examples/`, executed by a kernel: what its cells show, and how a mistake looks there."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.paths import ROOT

NOTEBOOK = ROOT / "examples" / "wave.ipynb"
LINE = re.compile(r"  Cell In\[\d+\], line \d+, in <module>\n")


def cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The outputs of each cell, by its last line."""
    nbformat = pytest.importorskip("nbformat", reason="pip install -e '.[dev]'")
    nbclient = pytest.importorskip("nbclient", reason="pip install -e '.[dev]'")
    pytest.importorskip("ipykernel", reason="pip install -e '.[dev]'")
    pytest.importorskip("pandas", reason="the notebook shows a data frame: pip install pandas")
    notebook = nbformat.read(NOTEBOOK, 4)
    folder = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder).execute()
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    return {cell.source.strip().split("\n")[-1]: cell.outputs for cell in code}


def test_the_notebook_is_stored_without_outputs() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())


def images(html: str) -> list[ElementTree.Element]:
    """The SVG images of a page, each of which is one by itself."""
    sources = re.findall(r'<img [^>]*src="data:image/svg\+xml;base64,([^"]*)">', html)
    return [ElementTree.fromstring(b64decode(source)) for source in sources]


def words(svg: ElementTree.Element) -> set[str]:
    return {"".join(element.itertext()) for element in svg.iter() if element.tag.endswith("}text")}


def test_a_model_is_drawn_above_its_summary(executed: dict[str, list[Any]]) -> None:
    (output,) = executed["model"]
    (drawing,) = images(output.data["text/html"])
    assert {"Wave", "series", "gru: GRU516 parameters", "transpose"} <= words(drawing)
    (summary,) = re.findall(r'<pre style="[^"]*monospace[^"]*">(.*?)</pre>', output.data["text/html"], re.DOTALL)
    assert re.search(r"\ngru \(GRU\) +f32\[batch, 12\] +516 +936 *\n", summary)
    assert output.data["text/plain"] == "<Model Wave(series: f32[batch, time, 1]) -> y: f32[batch, 1]>"


def test_progress_is_one_output_that_ends_with_the_best_epoch(executed: dict[str, list[Any]]) -> None:
    (output,) = executed["history = model.train(data, callbacks=good_enough)"]  # nothing on stderr beside it
    lines = output.data["text/plain"].split("\n")
    epoch, _, _, loss = lines[-1].split()[:4]
    assert lines[0] == f"Wave: good enough; best epoch {epoch}: val_loss {loss}"
    assert lines[1].split() == ["epoch", "loss", "mae", "val_loss", "val_mae", "seconds"]
    epochs = [line.split() for line in lines[2:]]
    assert float(epochs[-1][4]) < 0.06 <= min(float(row[4]) for row in epochs[:-1])
    assert epochs[-1][-1] == "best"
    html = ElementTree.fromstring(f"<p>{output.data['text/html'].replace('<br>', '<br/>')}</p>")
    (bar,) = html.iter("progress")
    assert float(bar.attrib["value"]) == pytest.approx(int(epochs[-1][0]) / 30, abs=1e-4)
    assert html.findtext("pre") == "\n".join(lines[1:])


def test_a_history_shows_its_curves(executed: dict[str, list[Any]]) -> None:
    (output,) = executed["history"]
    (curves,) = images(output.data["text/html"])
    assert {"loss", "mae", "training", "validation"} <= words(curves)
    assert output.data["text/plain"].endswith("; good enough>")


def test_an_evaluation_is_that_of_the_best_epoch(executed: dict[str, list[Any]]) -> None:
    (evaluation,) = executed['model.evaluate(data, part="validation")']
    (table,) = executed["history.to_dataframe().tail(3)"]
    last = table.data["text/plain"].split("\n")[-1].split()
    values = re.findall(r"'(\w+)': ([\d.e-]+)", evaluation.data["text/plain"])
    assert [(name, f"{float(value):.6f}") for name, value in values] == [("loss", last[3]), ("mae", last[4])]


MISTAKES = {
    'model(series=data["series"][:3, :, 0])': (
        "NablacError\n    model(series=data[\"series\"][:3, :, 0])\n\n"
        "error[E803]: `series`: expected f32[batch, time, 1], got an array of shape [3, 20]\n --> input `series`\n"
        "  = it has 2 axes; the model expects 3\nhelp: where axis 2, of size 1, is missing: `series[..., None]`"
    ),
    'nablac.compile(TEXT.replace("GRU(units)", "GRUU(units)"))': (
        'NablacError\n    nablac.compile(TEXT.replace("GRU(units)", "GRUU(units)"))\n\n'
        "error[E201]: unknown name `GRUU`\n --> <text>:4:19\n  |\n4 |     y = series -> GRUU(units) -> Dense(1)\n"
        "  |                   ^^^^\nhelp: did you mean `GRU`?"
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_shown_with_the_line_of_the_cell_and_no_other(line: str, executed: dict[str, list[Any]]) -> None:
    (output,) = executed[line]
    assert output.output_type == "error"
    assert LINE.sub("", "\n".join(output.traceback)) == MISTAKES[line]


NESTED = '''
import numpy as np
import nablac

TEXT = """model M { input x: [batch, 2]; output y = x -> Dense(1) }
train M { target t: [batch, 1]; loss mse(y, t); epochs 1 }"""
ROWS = np.ones((4, 2), np.float32)

def inner(model):
    return model(ROWS)

def outer():
    return inner(nablac.compile(TEXT))

def broken(epoch, metrics):
    return metrics["los"]

def mistaken(epoch, metrics):
    return outer()

def train(callback):
    nablac.compile(TEXT).train({"x": ROWS, "t": ROWS[:, :1]}, callbacks=callback, progress=False)
'''
IN_CELL = re.compile(r"^  Cell In\[\d+\], line (\d+), in (\S+)|^  (File .*)", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture(scope="module")
def nested() -> list[str]:
    """The tracebacks of a mistake, one within a callback, an error of a callback, and arrays that do not fit."""
    nbformat = pytest.importorskip("nbformat", reason="pip install -e '.[dev]'")
    nbclient = pytest.importorskip("nbclient", reason="pip install -e '.[dev]'")
    pytest.importorskip("ipykernel", reason="pip install -e '.[dev]'")
    notebook = nbformat.v4.new_notebook()
    cached = 'nablac.compile(TEXT).train({"x": ROWS, "t": ROWS})'  # whose error passes a `cached_property`
    sources = NESTED, "outer()", "train(mistaken)", "train(broken)", cached
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", allow_errors=True).execute()
    return [COLOUR.sub("", "\n".join(cell.outputs[-1].traceback)) for cell in notebook.cells[1:]]


def test_a_mistake_within_functions_is_shown_with_all_calls_of_the_user(nested: list[str]) -> None:
    message = (
        "\n\nerror[E801]: M takes its inputs by name, and the call has 1 without one\n --> the call\nhelp: `model(x=x)`"
    )
    assert nested[0].endswith(message) and nested[1].endswith(message)
    own = [("12", "outer", ""), ("9", "inner", "")]
    assert IN_CELL.findall(nested[0]) == [("1", "<module>", ""), *own]
    assert IN_CELL.findall(nested[1]) == [("1", "<module>", ""), ("21", "train", ""), ("18", "mistaken", ""), *own]


def test_no_call_of_python_itself_is_shown(nested: list[str]) -> None:
    assert "error[E" in nested[3] and IN_CELL.findall(nested[3]) == [("1", "<module>", "")]


def test_an_error_of_a_callback_is_shown_without_the_calls_of_nablac(nested: list[str]) -> None:
    cells = re.findall(r"^Cell In\[\d+\], line (\d+)", nested[2], re.MULTILINE)
    assert cells == ["1", "21", "15"]
    assert "nablac/" not in nested[2] and nested[2].endswith("KeyError: 'los'")
