"""Colours are read and told apart: contrast as WCAG 2.2 has it, deficiencies of vision as Machado et al. (2009) do."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from runtime.charts import palette
from runtime.charts.palette import ALL, CANVAS, ON_RAMP, RAMP, SERIES, SURFACE, Color, contrast, dark_rules, mix

SIDES = ("light", "dark")
READ = (palette.INK, palette.MUTED, palette.BEST, palette.WORSE, *SERIES)
# From linear RGB to linear RGB as it is seen: severity 1.0 of table 1 in "A physiologically-based model for
# simulation of color vision deficiency" (IEEE TVCG 15, 2009).
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(color: str) -> np.ndarray:
    encoded = np.array([int(color[index : index + 2], 16) for index in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson's OKLab (2020), in which equal distances look about equal."""
    cones = np.array([
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ])  # fmt: skip
    axes = np.array([
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ])  # fmt: skip
    return axes @ np.cbrt(cones @ rgb)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("#000000", "#ffffff", 21.0), ("#ffffff", "#ffffff", 1.0), ("#777777", "#ffffff", 4.48)],
)
def test_contrast_is_that_of_wcag(first: str, second: str, expected: float) -> None:
    assert contrast(first, second) == contrast(second, first) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("color", READ, ids=lambda color: color.name)
def test_what_is_read_stands_out_of_panel_and_page(color: Color, side: str) -> None:
    for ground in (SURFACE, CANVAS, palette.FAINT) if color in (palette.INK, palette.MUTED) else (SURFACE, CANVAS):
        assert contrast(getattr(color, side), getattr(ground, side)) >= 4.5


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("step", range(len(RAMP)))
def test_texts_in_cells_are_read_on_every_step_of_the_ramp(step: int, side: str) -> None:
    assert contrast(getattr(RAMP[step], side), getattr(ON_RAMP[step], side)) >= 4.5


@pytest.mark.parametrize("side", SIDES)
def test_the_ramp_stands_out_more_with_every_step(side: str) -> None:
    contrasts = [contrast(getattr(color, side), getattr(SURFACE, side)) for color in RAMP]
    assert all(before < after for before, after in pairwise(contrasts))


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("side", SIDES)
def test_series_are_told_apart(side: str, vision: str) -> None:
    seen = [oklab(np.clip(VISIONS[vision] @ linear(getattr(color, side)), 0, 1)) for color in SERIES]
    assert min(np.linalg.norm(first - second) for first, second in combinations(seen, 2)) > 0.08


def test_names_of_colours_are_different() -> None:
    assert len({color.name for color in ALL}) == len(ALL)


def test_rules_for_a_dark_screen_are_those_of_the_colours_that_are_used() -> None:
    rules = dark_rules('<circle class="fill-blue"/><line class="trial stroke-on-ramp-1"/>')
    assert rules == (
        f"@media screen and (prefers-color-scheme: dark){{.fill-blue{{fill:{palette.BLUE.dark}}}"
        f".stroke-on-ramp-1{{stroke:{ON_RAMP[1].dark}}}}}"
    )
    assert dark_rules("<circle/>") == ""


def test_mixing_goes_from_one_colour_to_the_other() -> None:
    assert [mix("#000000", "#ff8040", share) for share in (0, 0.5, 1)] == ["#000000", "#804020", "#ff8040"]
