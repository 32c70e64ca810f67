"""Any text is parsed or refused with a diagnostic, in linear time."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from grammar.limits import MOST_BYTES, MOST_ERRORS, MOST_EXPRESSION_DEPTH, MOST_NESTING, MOST_TOKENS
from grammar.parser import parse, read_source
from grammar.printer import print_file
from grammar.reading import source_of
from grammar.source import Source
from tests.grammar.trees import shape
from tests.work import at_most


def codes(text: str) -> list[str]:
    try:
        parse(Source("hostile.model", text))
    except NablacError as error:
        str(error)  # rendering must not fail either
        return [diagnostic.code for diagnostic in error.diagnostics]
    return []


def value(text: str) -> str:
    return f"layer L {{\n  y = {text}\n}}\n"


HOSTILE = [
    ("10 MB of brackets", "(" * 10_000_000, ["E143"]),
    ("brackets", "([{" * MOST_TOKENS, ["E128"]),
    ("nested brackets", value("(" * 200 + ")" * 200), ["E126"]),
    ("nested blocks", "layer L {" + "if a {" * 10_000 + "}" * 10_001, ["E126"]),
    ("a chain of `else if`", "layer L {" + "if a { } else " * 10_000 + "{ } }", ["E126"]),
    ("99 of `else if`", "layer L {" + "if a { } else " * 100 + "{ } }", []),
    ("100 of `else if`", "layer L {" + "if a { } else " * 101 + "{ } }", ["E126"]),
    ("a block in a preset", "model M {\n    preset a { width b { width = 3 }\n}\n", ["E101", "E113"]),
    ("20,000 terms", value("+".join(["a"] * 20_000)), ["E127"]),
    ("20,000 minus signs", value("-" * 20_000 + "x"), ["E127"]),
    ("20,000 powers", value("**".join(["x"] * 20_000)), ["E127"]),
    ("20,000 transposes", value("x" + "^T" * 20_000), ["E127"]),
    ("20,000 pipes", value("x" + " -> f" * 20_000), ["E127"]),
    ("a list of 10,000", value("[" + "1, " * 10_000 + "]"), []),
    ("a token too many", "a " * (MOST_TOKENS + 1), ["E128"]),
    ("blank lines", "\n" * 1_000_000, []),
    ("zero bytes", value("x") + "\0" * 1_000_000, ["E105"]),
    ("a long string", '"' + "\\" * 999_999, ["E103"]),
    ("a long number", value("1" * 100_000), ["E107"]),
    ("else after blank lines", "layer L { if a { }" + "\n" * 100_000 + "else { } }", []),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_text_gets_one_clear_answer_in_linear_time(text: str, expected: list[str]) -> None:
    with at_most(calls=60 * len(text) + 10_000):
        reported = codes(text)
    assert reported[: len(expected) or None] == expected


def test_an_expression_at_the_limit_of_terms_is_read_and_printed() -> None:
    longest = value("+".join(["a"] * MOST_EXPRESSION_DEPTH))
    tree = parse(Source("longest.model", longest))
    assert parse(Source("printed.model", print_file(tree))) is not None


def test_nesting_at_the_limit_is_read_and_printed() -> None:
    depth = MOST_NESTING - 1
    tree = parse(Source("deep.model", "layer L {" + "if a {" * depth + "}" * depth + "}"))
    assert shape(parse(Source("printed.model", print_file(tree)))) == shape(tree)


def test_the_number_of_reported_mistakes_is_limited() -> None:
    assert len(codes("layer L {\n" + "y = = 3\n" * 1000 + "}\n")) == MOST_ERRORS


WORDS = (
    "layer model cell fn train optimizer const from import input output param state buffer target if else for in "
    'assert preset and or not true false a b x\' h\' 1 2.5 1e3 "s" """d""" ( ) [ ] { } , : ; = == -> ~ ? + - * ** / // '
    "% @ < <= . .. ... ^T ^ ' \" # $ & | ! \n"
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORDS.split(" ")), max_size=40).map(" ".join))
def test_any_words_parse_and_print_or_are_refused(text: str) -> None:
    try:
        tree = parse(Source("words.model", text))
    except NablacError as error:
        assert all(diagnostic.code.startswith("E1") for diagnostic in error.diagnostics)
        str(error)
    else:
        printed = print_file(tree)
        again = parse(Source("printed.model", printed))
        assert shape(again) == shape(tree)
        assert print_file(again) == printed


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    codes(text)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "any.model"
    path.write_bytes(content)
    try:
        parse(read_source(path))
    except NablacError as error:
        str(error)


NPZ_BEGINNING = b"PK\x03\x04" + bytes(22) + b"\x05\0\0\0x.npy"
FILES = [
    ("not UTF-8", b"layer L {\n\xff }", "E140"),
    ("a zero byte", b"layer L\0 { }", "E141"),
    ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "E142"),
    ("too large", b" " * (MOST_BYTES + 1), "E143"),
    ("a PyTorch file", b"PK\x03\x04" + bytes(100), "E144"),
    ("a pickle", b"\x80\x04\x95" + bytes(100), "E144"),
    ("an old pickle", b"(dp0\nVa\np1\nI1\ns.", "E144"),
    ("an ONNX file from PyTorch", b"\x08\x08\x12\x07pytorch" + bytes(20), "E144"),
    ("an ONNX file from nablac", b"\x08\x0a\x12\x06nablac" + bytes(20), "E144"),
    ("an ONNX file without a name or a zero", b"\x08\x0e\x3a\x03\x0a\x01x", "E144"),
    ("a TensorFlow Lite file", b"\x1c\0\0\0TFL3" + bytes(20), "E144"),
    ("arrays", NPZ_BEGINNING + bytes(100), "E144"),
    ("an array", b"\x93NUMPY\x01\0" + bytes(100), "E144"),
    ("a gzip archive", b"\x1f\x8b\x08\0" + bytes(100), "E141"),
    ("weights", b"\x40\0\0\0\0\0\0\0" + b'{"w": 0}', "E144"),
]


@pytest.mark.parametrize(("content", "code"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_a_file_of_another_format_is_recognized(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "file.model"
    path.write_bytes(content)
    with pytest.raises(NablacError) as caught:
        read_source(path)
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == [code]


def test_arrays_are_not_called_a_trained_model() -> None:
    with pytest.raises(NablacError) as caught:
        source_of("images.npz", NPZ_BEGINNING)
    assert str(caught.value) == (
        "error[E144]: this is a file of arrays, not a `.model` file\n --> images.npz\n  = it is an NPZ archive\n"
        "help: name the network's `.model` file here; arrays are its weights, for `--weights`, "
        "or inputs of `nablac run`"
    )


def test_a_missing_file_gets_a_hint_with_a_similar_name(tmp_path: Path) -> None:
    (tmp_path / "forecaster.model").write_text("")
    with pytest.raises(NablacError) as caught:
        read_source(tmp_path / "forcaster.model")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.exit_code) == ("E901", 2)
    assert diagnostic.hint == f"did you mean `{tmp_path}/forecaster.model`?"


def test_a_pipe_without_a_writer_is_refused_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grammar.reading.WAIT", 0.1)
    pipe = tmp_path / "pipe.model"
    os.mkfifo(pipe)
    with pytest.raises(NablacError) as caught:
        read_source(pipe)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.note) == ("E903", "it is a pipe, and nothing writes into it")


def test_a_pipe_is_read_to_its_end_however_slowly_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grammar.reading.WAIT", 2.0)
    pipe = tmp_path / "pipe.model"
    os.mkfifo(pipe)

    def write() -> None:
        time.sleep(0.1)
        with open(pipe, "w", buffering=1) as file:
            time.sleep(0.1)
            for line in ("const a = 1\n", "# more\n", "x" * 100_000):
                file.write(line)
                file.flush()
                time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    text = read_source(pipe).text
    writer.join()
    assert text == "const a = 1\n# more\n" + "x" * 100_000


def test_a_folder_and_an_impossible_name_are_refused(tmp_path: Path) -> None:
    for name, code in ((str(tmp_path), "E902"), ("a\0b", "E903"), ("x" * 5000, "E903")):
        with pytest.raises(NablacError) as caught:
            read_source(name)
        assert [diagnostic.code for diagnostic in caught.value.diagnostics] == [code]


def test_a_byte_order_mark_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "marked.model"
    path.write_bytes(b"\xef\xbb\xbflayer L { }\n")
    assert len(parse(read_source(path)).declarations) == 1


def test_a_trained_model_gets_a_hint_at_what_to_do_with_it(tmp_path: Path) -> None:
    files = {
        "net.onnx": (b"\x08\x0a\x12\x06nablac\0", "an ONNX file", "nablac run FILE.onnx"),
        "net.model": (b"\x08\x0a\x12\x06nablac\0", "an ONNX file", "nablac run FILE.onnx"),
        "net.pt": (b"PK\x03\x04", "a zip archive, as PyTorch and NumPy save them", "--weights FILE.safetensors"),
        "net.pb": (b"\xff\0", "a protocol buffer", "--weights FILE.safetensors"),
    }
    for name, (content, kind, hint) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NablacError) as caught:
            read_source(tmp_path / name)
        (diagnostic,) = caught.value.diagnostics
        assert diagnostic.note == f"it is {kind}"
        assert diagnostic.hint is not None and hint in diagnostic.hint
