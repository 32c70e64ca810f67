"""Diagnostics on a terminal: control characters are escaped, and long texts are shortened."""

from __future__ import annotations

import pytest

from grammar import codes
from grammar.diagnostics import Diagnostic, Label
from grammar.source import Source, Span
from grammar.visible import LONGEST_TEXT, shell_word, shortened, visible

SHOWN = {
    "an escape": ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    "a bell and a null": ("\x07\x00", r"\x07\x00"),
    "C1": ("\x9b31m", r"\x9b31m"),
    "bidirectional overrides and isolates": ("\u202eabc\u2066\u2069", r"\u202eabc\u2066\u2069"),
    "other line separators": ("a\r\u2028\u2029b", r"a\x0d\u2028\u2029b"),
    "a surrogate": ("\ud83d", r"\ud83d"),
    "tabs and lines": ("a\tb\nc", "a\tb\nc"),
    "letters of all kinds": ("漢字 שלום مرحبا é 👩‍🔬", "漢字 שלום مرحبا é 👩‍🔬"),
}


@pytest.mark.parametrize("label", SHOWN)
def test_control_characters_are_escaped(label: str) -> None:
    text, expected = SHOWN[label]
    assert visible(text) == expected


WORDS = [("a.csv", "a.csv"), ("a b.csv", "'a b.csv'"), ("-a.csv", "./-a.csv"), ("-a b", "'./-a b'"), ("-", "-")]


@pytest.mark.parametrize(("path", "word"), WORDS)
def test_a_path_is_one_word_of_a_command_and_no_option(path: str, word: str) -> None:
    assert shell_word(path) == word


def test_every_part_of_a_diagnostic_is_escaped_and_its_json_is_exact() -> None:
    wrong = "\x1b\u202e"
    source = Source(f"a{wrong}.model", f"x = 1\ny = {wrong}\n")
    span = Span(source, 0, 1)
    diagnostic = Diagnostic(
        codes.E201, wrong, span, wrong, (Label(span, wrong), Label(Span(source, 6, 7), wrong)), wrong
    )
    for shown in (diagnostic, Diagnostic(codes.E901, wrong, note=wrong, hint=wrong, place=wrong)):
        text = shown.render()
        assert "\x1b" not in text and "\u202e" not in text and r"\x1b\u202e" in text
        assert shown.to_json()["message"] == wrong and shown.to_json()["hint"] == wrong


def test_long_names_and_long_messages_are_shortened() -> None:
    name = "n" * 1_000_000
    text = Diagnostic(codes.E201, f"unknown name `{name}`", place=name).render()
    assert len(text) < 1000 and "nnn...nnn" in text
    many = ", ".join(f"name {number}" for number in range(100_000))
    assert len(shortened(many)) == LONGEST_TEXT + 3 and shortened(many).endswith("...")
    assert shortened("a short text") == "a short text"
