"""Folders of images and texts that are more than memory is to hold give, bit for bit, what they give in memory."""

from __future__ import annotations

import gzip
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime import image_file
from runtime.data import coded_text, image_rows, long_text, text_lines, token_row, tokens
from runtime.data.batches import Batches
from runtime.data.coded_text import divided
from runtime.data.examples import Examples, digest
from runtime.data.file_rows import VARIABLE, FileRows
from runtime.data.stored_rows import StoredRows
from runtime.text.learning import learn
from runtime.text.tokenizers import LEARNT
from runtime.text.words import pieces, pieces_of
from tests.runtime.data.descriptions import load, refused
from tests.runtime.data.test_stored_rows import assert_same, on_disk

PILLOW = pytest.importorskip("PIL.Image")
__all__ = ["on_disk"]

COUNT, SIDE = 30, 8
PICTURES: dict[str, Any] = {"inputs": f"x: f32[batch, 3, {SIDE}, {SIDE}]", "target": "t: i64[batch]"}


def write_pictures(folder: Path) -> None:
    """Images of every kind that is read in its own way: colours, grey of 8 and 16 bits, transparent ones."""
    generator = np.random.default_rng(3)
    for number in range(COUNT):
        path = folder / "pictures" / "abc"[number % 3]
        path.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (SIDE, SIDE, 4), np.uint8)
        if number % 5 == 0:
            PILLOW.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path / f"{number:02}.png")
        elif number % 5 == 1:
            PILLOW.fromarray(pixels).save(path / f"{number:02}.png")
        elif number % 5 == 2:
            PILLOW.fromarray(pixels[..., 0]).save(path / f"{number:02}.bmp")
        else:
            PILLOW.fromarray(pixels[..., :3]).save(path / f"{number:02}.jpg")


DESCRIPTIONS = {
    "as they are": 'images("pictures")',
    "standardized": 'images("pictures") -> standardize()',
    "augmented": 'images("pictures") -> augment(flip: true, crop: 2)',
    "resized": f'images("pictures", size: {SIDE}) -> min_max()',
}


@pytest.mark.parametrize("data", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_images_on_disk_are_those_in_memory(tmp_path: Path, data: str, on_disk: Callable[[], None]) -> None:
    write_pictures(tmp_path)
    in_memory = load(tmp_path, data, validation=0.2, **PICTURES)
    on_disk()
    stored = load(tmp_path, data, validation=0.2, **PICTURES)
    assert isinstance(stored.arrays["x"], StoredRows)
    assert_equal(in_memory, stored)
    assert stored.files == in_memory.files


def assert_equal(in_memory: Examples, stored: Examples) -> None:
    assert digest(in_memory) == digest(stored)
    for name, fitted in in_memory.scalings.items():
        assert fitted.offset.tobytes() == stored.scalings[name].offset.tobytes()
        assert fitted.scale.tobytes() == stored.scalings[name].scale.tobytes()
    for epoch in range(2):
        batches = [Batches(each, "training", 7, shuffle=True, seed=3).epoch(epoch) for each in (in_memory, stored)]
        for left, right in zip(*batches, strict=True):
            assert {name: array.tobytes() for name, array in left.items()} == {
                name: array.tobytes() for name, array in right.items()
            }


@pytest.mark.parametrize("kept", [0, 10, COUNT])
def test_images_are_decoded_when_a_batch_asks_for_them(
    tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pictures" / "a"
    path.mkdir(parents=True)
    for number in range(COUNT):
        PILLOW.new("RGB", (SIDE, SIDE), (number, 0, 0)).save(path / f"{number:02}.png")
    decodes, alive, most = 0, 0, 0
    reading = image_file.read_pixels

    def read_pixels(*arguments: Any) -> np.ndarray:
        nonlocal decodes, alive, most
        decodes, alive = decodes + 1, alive + 1
        most = max(most, alive)
        pixels: np.ndarray = reading(*arguments)
        weakref.finalize(pixels, gone)
        return pixels

    def gone() -> None:
        nonlocal alive
        alive -= 1

    monkeypatch.setattr(image_rows, "read_pixels", read_pixels)
    monkeypatch.setattr(image_rows, "_AHEAD", 2)
    monkeypatch.setenv(VARIABLE, str(max(1, kept * SIDE * SIDE * 3)))
    examples = load(tmp_path, 'images("pictures")', **PICTURES)
    assert decodes == COUNT and alive <= kept + 1  # each once, to find the broken ones
    for epoch in range(3):
        decodes, most = 0, 0
        seen = [batch["x"] for batch in Batches(examples, "training", 4, shuffle=True).epoch(epoch)]
        assert decodes == COUNT - kept
        assert most <= kept + image_rows._MOST_THREADS
        assert sorted(float(value) for batch in seen for value in batch[:, 0, 0, 0]) == [
            np.float32(number) / np.float32(255) for number in range(COUNT)
        ]


def test_broken_images_are_told_before_training(tmp_path: Path, on_disk: Callable[[], None]) -> None:
    write_pictures(tmp_path)
    whole = (tmp_path / "pictures" / "a" / "03.jpg").read_bytes()
    (tmp_path / "pictures" / "b" / "zz.jpg").write_bytes(whole[:-40])  # its header is in order
    PILLOW.new("RGB", (SIDE, SIDE + 1)).save(tmp_path / "pictures" / "b" / "zzz.png")
    (tmp_path / "pictures" / "c" / "zz.png").write_bytes(b"no image")
    in_memory = refused(tmp_path, 'images("pictures")', **PICTURES)
    assert in_memory.startswith("E821 HERE/pictures/b/zz.jpg: this cannot be read as an image: image file is truncated")
    skipped: list[list[str]] = [[], []]
    first = load(tmp_path, 'images("pictures")', skip_broken=True, skipped=skipped[0], **PICTURES)
    on_disk()
    assert refused(tmp_path, 'images("pictures")', **PICTURES) == in_memory
    second = load(tmp_path, 'images("pictures")', skip_broken=True, skipped=skipped[1], **PICTURES)
    assert len(second) == COUNT and skipped[0] == skipped[1] and len(skipped[0]) == 3
    assert_equal(first, second)


@pytest.mark.parametrize("change", ["written over", "gone"])
def test_an_image_that_changes_between_epochs_is_refused(
    tmp_path: Path, change: str, on_disk: Callable[[], None]
) -> None:
    write_pictures(tmp_path)
    on_disk()
    examples = load(tmp_path, 'images("pictures")', **PICTURES)
    batches = Batches(examples, "training", 7)
    assert sum(len(batch["x"]) for batch in batches.epoch(0)) == COUNT
    path = tmp_path / "pictures" / "b" / "04.jpg"
    if change == "gone":
        path.unlink()
    else:
        PILLOW.new("RGB", (SIDE, SIDE)).save(path)
    with pytest.raises(NablacError) as caught:
        list(batches.epoch(1))
    (diagnostic,) = caught.value.diagnostics
    expected = {
        "written over": ("E821", "the file has changed since it was first read"),
        "gone": ("E903", "the file cannot be read"),
    }
    assert (diagnostic.code, diagnostic.message) == expected[change]
    assert diagnostic.place == str(path)


WINDOWS: dict[str, Any] = {"inputs": "x: i64[batch, T]", "target": "t: i64[batch, T]"}
LETTERS = "abc def\u00e9\u4e2d\U0001f600.,'()\r\n\t _5"
TEXTS = {
    "characters": "characters(length: 7)",
    "overlapping characters": "characters(length: 9, stride: 2)",
    "words": "words(length: 5, most: 20)",
    "overlapping words": "words(length: 6, stride: 1)",
    "tokens of characters": 'tokens(length: 6, kind: "characters", most: 12)',
    "tokens of words": 'tokens(length: 6, kind: "words", most: 30)',
    "byte pairs": 'tokens(length: 6, kind: "bpe", most: 60)',
    "word pieces": 'tokens(length: 6, kind: "wordpiece", most: 60)',
    "unigrams": 'tokens(length: 6, kind: "unigram", most: 60)',
}


def write_texts(folder: Path) -> str:
    """A folder of texts, one of which is packed and one empty, and the whole text."""
    generator = np.random.default_rng(2)
    texts = ["".join(generator.choice(list(LETTERS), count)) for count in (1500, 0, 900)]
    texts.append("the cat sat on the mat, and the dog did not. " * 30)
    (folder / "texts").mkdir()
    for number, text in enumerate(texts):
        (folder / "texts" / f"{number}.txt").write_bytes(text.encode("utf-16" if number == 2 else "utf-8"))
    content = (folder / "texts" / "0.txt").read_bytes()
    (folder / "texts" / "0.txt").write_bytes(gzip.compress(content))
    return "\n".join(texts)


@pytest.fixture
def in_small_parts(monkeypatch: pytest.MonkeyPatch, on_disk: Callable[[], None]) -> Callable[[], None]:
    """From now on texts are read, coded and hidden some characters at a time."""

    def limit() -> None:
        on_disk()
        monkeypatch.setattr(text_lines, "_CHUNK", 61)
        monkeypatch.setattr(token_row, "_AT_ONCE", 37)
        monkeypatch.setattr(tokens, "_AT_ONCE", 50)

    return limit


@pytest.mark.parametrize("stage", TEXTS.values(), ids=TEXTS)
def test_texts_on_disk_are_those_in_memory(tmp_path: Path, stage: str, in_small_parts: Callable[[], None]) -> None:
    if "bpe" in stage or "piece" in stage or "unigram" in stage:
        pytest.importorskip("tokenizers")
    write_texts(tmp_path)
    in_memory = load(tmp_path, f'text("texts") -> {stage}', validation=0.2, **WINDOWS)
    in_small_parts()
    stored = load(tmp_path, f'text("texts") -> {stage}', validation=0.2, **WINDOWS)
    assert in_memory.tokenizer is not None and stored.tokenizer is not None
    assert in_memory.tokenizer.to_json() == stored.tokenizer.to_json()
    assert_same(in_memory, stored)


def test_windows_of_characters_are_slices_of_the_text(tmp_path: Path, in_small_parts: Callable[[], None]) -> None:
    text = write_texts(tmp_path)
    in_small_parts()
    examples = load(tmp_path, 'text("texts") -> characters(length: 9, stride: 4)', validation=0.25, **WINDOWS)
    known = sorted(set(text[: len(text) - round(len(text) / 4)]))
    numbers = [known.index(letter) + 1 if letter in known else 0 for letter in text]
    starts = range(0, len(text) - 9, 4)
    assert examples.arrays["x"][:].tolist() == [numbers[start : start + 9] for start in starts]
    assert examples.arrays["t"][:].tolist() == [numbers[start + 1 : start + 10] for start in starts]


def test_hidden_tokens_are_drawn_as_for_the_whole_text(tmp_path: Path, in_small_parts: Callable[[], None]) -> None:
    text = write_texts(tmp_path)
    data = 'text("texts") -> tokens(length: 8, kind: "characters", most: 60, hide: 0.3)'
    types: dict[str, Any] = {"inputs": "tokens: i64[batch, T]", "target": "hidden: i64[batch, T]"}
    in_memory = load(tmp_path, data, seed=5, **types)
    in_small_parts()
    stored = load(tmp_path, data, seed=5, **types)
    assert_same(in_memory, stored)
    tokenizer = stored.tokenizer
    assert tokenizer is not None and tokenizer.mask is not None
    whole = np.array(tokenizer.encode(text))[: len(text) // 8 * 8].reshape(-1, 8)
    generator = np.random.default_rng([5, 0x3A5C])  # as Devlin et al. 2018 have it: 80 % masks, 10 % others
    chosen, how = generator.random(whole.shape) < 0.3, generator.random(whole.shape)
    others = generator.choice(np.array(tokenizer.ordinary), whole.shape)
    shown = np.where(how < 0.8, tokenizer.mask, np.where(how < 0.9, whole, others))
    np.testing.assert_array_equal(stored.arrays["tokens"][:], np.where(chosen, shown, whole))
    np.testing.assert_array_equal(stored.arrays["hidden"][:], np.where(chosen, whole, tokens.IGNORED))


def test_windows_of_a_text_are_read_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window for each character holds each of them as often as it is long."""
    (tmp_path / "a.txt").write_text("abcdefgh" * 5000)
    monkeypatch.setenv(VARIABLE, "100KB")
    examples = load(tmp_path, 'text("a.txt") -> characters(length: 100, stride: 1)', **WINDOWS)
    windows = examples.arrays["x"]
    assert isinstance(windows, StoredRows) and windows.nbytes == 0
    read = 0
    reading = FileRows.spans

    def counted(rows: FileRows, starts: np.ndarray, width: int) -> np.ndarray:
        nonlocal read
        read += len(starts) * width
        return reading(rows, starts, width)

    monkeypatch.setattr(FileRows, "spans", counted)
    monkeypatch.setattr(FileRows, "read", None)
    next(Batches(examples, "training", 4, shuffle=True).epoch(0))
    assert 0 < read <= 2 * 7 * 4 * 100  # an input and a target of each batch, of which a few are read ahead


def test_a_text_may_be_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_LONGEST_LINE", 100)  # of a table
    monkeypatch.setattr(text_lines, "_CHUNK", 61)
    (tmp_path / "a.txt").write_text("one line " * 100)
    examples = load(tmp_path, 'text("a.txt") -> words(length: 5)', **WINDOWS)
    assert sum(len(part) for part in examples.parts.values()) == (200 - 1) // 5


def test_a_packed_text_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = gzip.compress(b"a" * 200_000)
    (tmp_path / "a.txt").write_bytes(content)
    monkeypatch.setattr(long_text, "PACKED_FREE", 1000)
    monkeypatch.setattr(text_lines, "_CHUNK", 1000)
    message = refused(tmp_path, 'text("a.txt") -> characters(length: 5)', **WINDOWS)
    unpacked = (100 * len(content)) // 1000 * 1000 + 1000
    assert message.startswith(
        f"E913 HERE/a.txt: this file of {len(content):,} bytes unpacks to {unpacked:,} bytes or more, and the limit is"
    )


BROKEN = {
    "bytes of another encoding": (b"good\nline\n\xff", "E821 HERE/texts/x.txt:3: this is not UTF-8 text: byte 10"),
    "a null byte": (b"a\nb\0", "E821 HERE/texts/x.txt:2: the text contains a null byte"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\0", "E821 HERE/texts/x.txt: this is an image; expected a text"),
    "a packed file that is cut": (
        gzip.compress(b"abc" * 1000)[:-9],
        "E821 HERE/texts/x.txt: this gzip file is cut off: it ends before its content does",
    ),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_texts(tmp_path: Path, content: bytes, message: str, in_small_parts: Callable[[], None]) -> None:
    write_texts(tmp_path)
    (tmp_path / "texts" / "x.txt").write_bytes(content)
    data = 'text("texts") -> characters(length: 7)'
    in_memory = load(tmp_path, data, skip_broken=True, **WINDOWS)
    assert refused(tmp_path, data, **WINDOWS) == message
    in_small_parts()
    assert refused(tmp_path, data, **WINDOWS) == message
    skipped: list[str] = []
    assert_same(in_memory, load(tmp_path, data, skip_broken=True, skipped=skipped, **WINDOWS))
    assert len(skipped) == 1


def test_a_text_that_changes_between_two_readings_is_refused(
    tmp_path: Path, in_small_parts: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("some words " * 100)
    in_small_parts()
    learning = coded_text.distinct_characters

    def change_after(*arguments: Any) -> tuple[str, ...]:
        known = learning(*arguments)
        path.write_text("words " * 100)
        return known

    monkeypatch.setattr("runtime.data.stages.distinct_characters", change_after)
    with pytest.raises(NablacError) as caught:
        load(tmp_path, 'text("a.txt") -> characters(length: 7)', **WINDOWS)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E821", "the file changed while it was read")
    assert diagnostic.note == "it had 1,100 bytes and now has 600"


@given(st.lists(st.text(st.sampled_from(LETTERS), max_size=12), max_size=8))
def test_words_of_parts_are_those_of_the_whole(parts: list[str]) -> None:
    whole = "".join(parts)
    assert [piece for some in pieces_of(parts, "words") for piece in some] == pieces(whole, "words")
    assert "".join(divided(parts)) == whole


@cache
def tokenizer_of(kind: str) -> Any:
    return learn(["a cab, a bad ace. def " * 5, LETTERS], kind, 60)


@given(st.lists(st.text(st.sampled_from(LETTERS + "abcabc"), max_size=9), max_size=6), st.sampled_from(LEARNT))
def test_tokens_of_parts_are_those_of_the_whole(parts: list[str], kind: str) -> None:
    pytest.importorskip("tokenizers")
    tokenizer = tokenizer_of(kind)
    assert tokenizer.divides_at_spaces
    whole = tokenizer.encode("".join(parts))
    assert [token for part in divided(parts) for token in tokenizer.encode(part)] == whole
