"""The history that training returns: values by epoch, a table and a picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import nablac
from grammar.diagnostics import NablacError
from tests.nablac.test_callbacks import DATA, TEXT


def test_a_history_is_that_of_the_folder(tmp_path: Path) -> None:
    history = nablac.compile(TEXT).train(DATA, folder=tmp_path / "run")
    assert history == json.loads((tmp_path / "run" / "history.json").read_text())
    best = history["val_loss"].index(min(history["val_loss"]))
    assert (history.best_epoch, history.best, history.monitor) == (best + 1, history["val_loss"][best], "val_loss")
    assert history.plot() == (tmp_path / "run" / "curves.svg").read_text().replace(f"{tmp_path.name} run", "Line run")
    shown = f"<History of Line: 4 epochs, best epoch {best + 1}: val_loss {history.best:.6g}; all epochs are done>"
    assert repr(history) == shown


def test_a_picture_is_saved_and_shown(tmp_path: Path) -> None:
    picture = nablac.compile(TEXT).train(DATA).plot()
    picture.save(tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text() == str(picture)
    titles = [element.text for element in ElementTree.fromstring(picture).iter() if element.tag.endswith("text")]
    assert {"loss", "mae", "training", "validation"} <= set(titles)
    assert repr(picture) == f"<Picture: {len(picture):,} characters of SVG>"
    assert picture._repr_html_().startswith("<img ")


def test_an_unfinished_history_is_empty() -> None:
    history = nablac.History({}, model="M")
    assert repr(history) == "<History of M: 0 epochs>"
    assert "no epoch is finished yet" in history.plot()


def test_a_data_frame_has_the_epochs_as_index() -> None:
    pandas = pytest.importorskip("pandas")
    history = nablac.compile(TEXT).train(DATA)
    expected = {name: values for name, values in history.items() if name != "epoch"}
    index = pandas.Index([1, 2, 3, 4], name="epoch")
    pandas.testing.assert_frame_equal(history.to_dataframe(), pandas.DataFrame(expected, index=index))


def test_a_data_frame_needs_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NablacError) as caught:
        nablac.History({}).to_dataframe()
    assert str(caught.value) == "error[E809]: `to_dataframe` needs pandas\n --> pandas\nhelp: pip install pandas"


def test_a_summary_shows_itself_in_a_fixed_width_font() -> None:
    summary = nablac.compile(TEXT).summary(batch=2)
    html = summary._repr_html_()
    assert html.startswith("<pre style=") and "monospace" in html
    root = ElementTree.fromstring(html)
    assert root.text == str(summary)
