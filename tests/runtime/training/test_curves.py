"""The picture of a history is well formed, complete, and keeps everything inside its panels."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from runtime.training.curves import curves

SVG = "{http://www.w3.org/2000/svg}"
NAN, INF = math.nan, math.inf
LONG = {
    "epoch": [float(epoch) for epoch in range(1, 41)],
    "loss": [3 * math.exp(-epoch / 4) + 0.001 for epoch in range(40)],
    "val_loss": [3 * math.exp(-epoch / 6) + 0.02 * abs(epoch - 29) for epoch in range(40)],
    "mae": [1 / (epoch + 1) for epoch in range(40)],
    "accuracy": [1 - 0.9**epoch for epoch in range(40)],
    "val_accuracy": [0.5 + 0.01 * epoch * (epoch < 20) for epoch in range(40)],
    "lr": [1e-3 * 0.9**epoch for epoch in range(40)],
}


def picture(history: Mapping[str, Sequence[float]], title: str = "run 1") -> Element:
    return ElementTree.fromstring(curves(history, title, {"accuracy"}))


def panels(history: Mapping[str, Sequence[float]]) -> dict[str, Element]:
    """Each panel by the name that is written on it."""
    found = [each for each in picture(history).iter(f"{SVG}g") if each.get("class") == "panel"]
    return {texts(each)[0]: each for each in found}


def texts(element: Element) -> list[str]:
    return [each.text or "" for each in element.iter(f"{SVG}text")]


def lines(panel: Element) -> list[list[tuple[float, float]]]:
    points = [(each.get("points") or "").split() for each in panel.iter(f"{SVG}polyline")]
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line)] for line in points]


def dots(panel: Element) -> int:
    """Circles in the plot; that of the legend lies above it."""
    return sum(float(each.get("cy", 0)) > 43 for each in panel.iter(f"{SVG}circle"))


def test_a_panel_for_each_quantity_and_the_learning_rate_last() -> None:
    assert list(panels({"lr": [1.0], **LONG})) == ["loss", "mae", "accuracy", "lr"]
    assert list(panels({"val_loss": [1.0, 2.0]})) == ["loss"]


def test_validation_shares_the_panel_and_the_learning_rate_has_a_small_one() -> None:
    found = panels(LONG)
    assert [len(lines(panel)) for panel in found.values()] == [2, 1, 2, 1]
    heights = {name: float(panel[0].get("height", 0)) for name, panel in found.items()}
    assert heights["lr"] < heights["loss"] == heights["mae"]


@pytest.mark.parametrize("seed", range(20))
def test_everything_lies_inside_its_panel_and_panels_inside_the_card(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.choice([1, 2, 3, 17, 500, 123456 // 40])
    scale = 10.0 ** chance.randint(-12, 12)
    names = ["loss", "val_loss", "a", "val_b", "a_name_that_is_as_long_as_a_name_can_be_" * 3, "lr"]
    history = {
        name: [scale * chance.choice([1, -1, 1e-4, 1e4][: 1 + seed % 4]) * chance.random() for _ in range(count)]
        for name in names
    }
    root = picture(history, "title " * 50)
    card_width, card_height = float(root.get("width", 0)), float(root.get("height", 0))
    drawn = list(root.iter(f"{SVG}g"))
    assert drawn
    for panel in drawn:
        left, top = map(float, panel.get("transform", "")[len("translate(") : -1].split())
        width, height = float(panel[0].get("width", 0)), float(panel[0].get("height", 0))
        assert left + width < card_width and top + height < card_height
        points = [point for line in lines(panel) for point in line]
        points += [(float(each.get("cx", 0)), float(each.get("cy", 0))) for each in panel.iter(f"{SVG}circle")]
        assert all(0 < x < width and 0 < y < height for x, y in points)
        for text in panel.iter(f"{SVG}text"):
            x, y = float(text.get("x", 0)), float(text.get("y", 0))
            size, wide = float(text.get("font-size", 0)), len(text.text or "") * 0.62
            before = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor", "start")]
            assert x - before * wide * size > 0 and x + (1 - before) * wide * size < width
            assert size < y < height


def test_the_best_validation_epoch_is_marked_and_told() -> None:
    found = panels(LONG)
    best = min(range(40), key=LONG["val_loss"].__getitem__)
    assert f"best {LONG['val_loss'][best]:.4g} at epoch {best + 1}" in texts(found["loss"])
    assert "best 0.69 at epoch 20" in texts(found["accuracy"])  # the larger the better
    assert [dots(panel) for panel in found.values()] == [1, 0, 1, 0]


def test_what_is_not_finite_leaves_a_gap() -> None:
    panel = panels({"loss": [3.0, 2.0, NAN, 2.0, INF, 1.0, 0.5]})["loss"]
    assert [len(line) for line in lines(panel)] == [2, 2]
    assert dots(panel) == 1  # what stands alone between two gaps
    panel = panels({"loss": [NAN, INF, -INF]})["loss"]
    assert lines(panel) == [] and "no finite value" in texts(panel)


def test_one_epoch_is_a_point() -> None:
    panel = panels({"loss": [0.5], "val_loss": [0.7]})["loss"]
    assert lines(panel) == [] and dots(panel) == 2
    assert "1" in texts(panel)


@pytest.mark.parametrize("history", [{}, {"epoch": []}, {"loss": [], "epoch": []}, {"epoch": [1.0]}])
def test_an_empty_history_is_a_picture_with_a_line_of_text(history: Mapping[str, Sequence[float]]) -> None:
    assert texts(picture(history)) == ["run 1", "no epoch is finished yet"]


def test_the_scale_is_logarithmic_past_two_decades_of_positive_values() -> None:
    def middle(values: list[float]) -> float:
        ((first, second, third),) = lines(panels({"loss": values})["loss"])
        return (second[1] - first[1]) / (third[1] - first[1])

    assert middle([1000.0, 10.0, 0.1]) == pytest.approx(0.5, abs=0.01)
    assert middle([100.0, 10.0, 1.5]) == pytest.approx(90 / 98.5, abs=0.01)
    assert middle([1000.0, 10.0, 0.0]) == pytest.approx(0.99, abs=0.01)


def test_epochs_are_those_of_the_history() -> None:
    shown = texts(panels({"epoch": [11.0, 12.0, 13.0], "loss": [3.0, 2.0, 1.0]})["loss"])
    assert {"11", "12", "13"} <= set(shown)


def test_neighbouring_ticks_have_different_numbers() -> None:
    shown = texts(panels({"b": [1.00001, 1.00002, 1.000015]})["b"])
    numbers = [text for text in shown if text.startswith("1.0")]
    assert len(numbers) == len(set(numbers)) >= 3


def test_markup_in_a_text_stays_text() -> None:
    root = picture({"a<b>&'\"\x00": [1.0, 2.0]}, "</svg> & \x07 \ud800")
    assert texts(root)[0] == "</svg> &    "
    assert texts(root)[1] == "a<b>&'\" "


@pytest.mark.parametrize(
    "values",
    [
        [1e308, -1e308],
        [5e-324, 1e-323],
        [5e-324, 1.0],
        [1.0, 1.0 + 2**-52],
        [-1e-5, 1e-5],
        [0.0, 0.0],
        [1e299, 1.0],
        [-3.4e38, 3.4e38],
    ],
)
def test_no_number_is_too_odd_for_it(values: list[float]) -> None:
    assert list(panels({"loss": values, "val_loss": values, "lr": values})) == ["loss", "lr"]
