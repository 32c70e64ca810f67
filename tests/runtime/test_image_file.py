"""Images as numbers: by Pillow's own pixels and by what PNG, TIFF and EXIF say, in training and in `run` alike."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from runtime.data.context import Context
from runtime.image_file import read_image
from runtime.input_files import Reading, read_inputs
from tests.runtime.data.descriptions import load

Image = pytest.importorskip("PIL.Image")
SIXTEEN = (np.arange(12).reshape(3, 4) * 5041).astype(np.uint16)  # up to 55,451 of 65,535
BYTES = (np.arange(12).reshape(3, 4) * 20).astype(np.uint8)
RED = (255, 0, 0)


def saved(image: Any, format: str = "png", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def read(content: bytes, channels: int, size: tuple[int, int] | None = None) -> tuple[Any, list[str]]:
    notes: list[str] = []
    return read_image(content, "picture", channels, lambda *own: size or own, notes.append), notes


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_of_16_bits_has_all_of_them(format: str, channels: int) -> None:
    found, notes = read(saved(Image.fromarray(SIXTEEN), format), channels)
    expected = [SIXTEEN / 65535] * min(channels, 3) + [np.ones((3, 4))] * (channels == 4)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32 and not notes


def test_8_and_16_bits_of_one_picture_are_alike() -> None:
    sixteen, _ = read(saved(Image.fromarray(BYTES.astype(np.uint16) * 257)), 1, (2, 3))
    eight, _ = read(saved(Image.fromarray(BYTES)), 1, (2, 3))
    np.testing.assert_allclose(sixteen, eight, atol=0.5 / 255 + 1e-6)  # Pillow rounds bytes when it resizes


def test_floats_from_0_to_1_are_taken_and_others_refused() -> None:
    numbers = (SIXTEEN / 65535).astype(np.float32)
    found, _ = read(saved(Image.fromarray(numbers), "tiff"), 1)
    np.testing.assert_array_equal(found[0], numbers)
    for wrong in (numbers * 300, numbers - 0.5, np.full((2, 2), np.nan, np.float32)):
        with pytest.raises(NablacError, match="expected floats from 0 to 1, got"):
            read(saved(Image.fromarray(wrong), "tiff"), 1)


def png(depth: int, kind: int, row: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """One pixel, as the PNG specification (W3C, 2003) writes it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checked

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, depth, kind, 0, 0, 0))
    rest = b"".join(chunk(name, content) for name, content in extra)
    return b"\x89PNG\r\n\x1a\n" + header + rest + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")


def test_colour_of_16_bits_is_read_as_8_and_said_to_be() -> None:
    found, notes = read(png(16, 2, struct.pack(">3H", 65535, 32768, 1000)), 3)
    np.testing.assert_allclose(found.ravel(), np.array([65535, 32768, 1000]) / 65535, atol=1 / 255)
    assert notes == ["16 bits of a channel are read as 8"]


def test_a_transparent_grey_of_16_bits_is_white() -> None:
    grey = struct.pack(">H", 4000)
    found, notes = read(png(16, 0, grey, (b"tRNS", grey)), 1)
    assert found.ravel().tolist() == [1] and notes == ["transparent parts become white"]


def test_integers_of_32_bits_have_no_white() -> None:
    with pytest.raises(NablacError, match="whose white level is unknown"):
        read(saved(Image.fromarray(SIXTEEN.astype(np.int32)), "tiff"), 1)


# EXIF 2.3, 4.6.4: which side of the picture the file's first row and first column are.
ORIENTATIONS: dict[int, Any] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a[::-1].T,
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: a[:, ::-1].T,
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("numbers", [BYTES, SIXTEEN], ids=["8 bits", "16 bits"])
def test_a_picture_is_turned_as_viewers_turn_it(numbers: Any, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found, _ = read(saved(Image.fromarray(numbers), exif=exif), 1)
    np.testing.assert_allclose(found[0], ORIENTATIONS[orientation](numbers) / np.iinfo(numbers.dtype).max, rtol=1e-6)


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 0, 0, 255])
    image.putdata([0, 1])
    return saved(image, **({"transparency": 0} if transparent else {}))


ALPHA = Image.new("RGBA", (1, 1), (255, 0, 0, 0))
KINDS: dict[str, tuple[bytes, int, list[float], int]] = {
    "transparent red on white": (saved(ALPHA), 3, [1, 1, 1], 1),
    "half of red on white": (saved(Image.new("RGBA", (1, 1), (255, 0, 0, 51))), 3, [1, 0.8, 0.8], 1),
    "opaque red": (saved(Image.new("RGBA", (1, 1), (255, 0, 0, 255))), 3, [1, 0, 0], 0),
    "alpha is kept by 4 channels": (saved(ALPHA), 4, [1, 0, 0, 0], 0),
    "no alpha is opaque": (saved(Image.new("RGB", (1, 1), RED)), 4, [1, 0, 0, 1], 0),
    "transparent black in grey": (saved(Image.new("LA", (1, 1), (0, 0))), 1, [1], 1),
    "half of black in grey": (saved(Image.new("LA", (1, 1), (0, 102))), 1, [0.6], 1),
    "black and white": (saved(Image.new("1", (1, 1), 1)), 1, [1], 0),
    "a palette": (palette(False), 3, [1, 0, 0, 0, 0, 1], 0),
    "a palette with a transparent entry": (palette(True), 3, [1, 0, 1, 0, 1, 1], 1),
    "CMYK": (saved(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "tiff"), 3, [1, 0, 0], 0),
    "ITU-R 601 grey of red": (saved(Image.new("RGB", (1, 1), RED)), 1, [76 / 255], 0),
    "animated": (
        saved(Image.new("L", (1, 1), 255), "tiff", save_all=True, append_images=[Image.new("L", (1, 1))]),
        1,
        [1],
        1,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture(kind: str) -> None:
    content, channels, expected, notes = KINDS[kind]
    found, said = read(content, channels)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-6)
    assert len(said) == notes


@pytest.mark.parametrize("name", ["sixteen.png", "turned.png", "alpha.png"])
def test_training_and_run_read_the_same_numbers(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "sixteen.png": saved(Image.fromarray(SIXTEEN)),
        "turned.png": saved(Image.fromarray(BYTES), exif=exif),
        "alpha.png": saved(Image.new("RGBA", (3, 4), (10, 20, 30, 40))),
    }
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / name).write_bytes(files[name])
    notes: dict[str, list[str]] = {}
    model = "image: f32[batch, 3, 4, 4]"
    trained = load(tmp_path, 'images("data", size: 4)', model, "t: i64[batch]", notes=notes).arrays["image"]
    wanted = TensorType(DType.F32, (Dim.named("n"), 3, 4, 4))
    said: list[str] = []
    ran = read_inputs([str(tmp_path / "data" / "a" / name)], {"image": wanted}, Reading(said.append))["image"]
    np.testing.assert_array_equal(trained, ran)
    assert [text for text in notes if "white" in text] == [
        line.partition(name + ": ")[2] for line in said if "white" in line
    ]


N = Dim.named("n")
UNFIT = {
    "channels last": (DType.F32, (N, 32, 32, 3), "E829: the input is f32[n, 32, 32, 3], and an image has"),
    "bytes": (DType.U8, (N, 3, 3, 4), "E829: the input is u8[n, 3, 3, 4], and an image becomes numbers from 0 to 1"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_input_that_no_image_can_be(tmp_path: Path, case: str) -> None:
    dtype, shape, message = UNFIT[case]
    (tmp_path / "x.png").write_bytes(saved(Image.fromarray(BYTES)))
    with pytest.raises(NablacError) as caught:
        read_inputs([str(tmp_path / "x.png")], {"x": TensorType(dtype, shape)})
    (diagnostic,) = caught.value.diagnostics
    assert f"{diagnostic.code}: {diagnostic.message}".startswith(message)


def test_three_axes_are_pictures_in_grey(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(saved(Image.fromarray(BYTES)))
    found = read_inputs([str(tmp_path / "x.png")], {"x": TensorType(DType.F32, (N, 3, 4))})["x"]
    np.testing.assert_allclose(found, [BYTES / 255], rtol=1e-6)


def test_what_a_folder_holds_beside_images_is_noted(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png", ".ipynb_checkpoints/3.png", "4.png", "a/deeper/5.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(saved(Image.fromarray(BYTES)))
    (tmp_path / "a" / "labels.txt").write_text("")
    context = Context(tmp_path)
    given = {"notes": context.notes}
    found = load(tmp_path, f'images("{tmp_path}")', "x: f32[batch, 3, 3, 4]", "t: i64[batch]", **given)
    assert found.classes == {"label": ("a", "b")} and len(found) == 2
    assert {name.removeprefix(f"{tmp_path}/") for names in context.notes.values() for name in names} == {
        ".ipynb_checkpoints",
        "4.png",
        "a/deeper",
        "a/labels.txt",
    }
    (tmp_path / "empty").mkdir()
    with pytest.raises(NablacError, match="has no images"):
        load(tmp_path, f'images("{tmp_path}")', "x: f32[batch, 3, 3, 4]", "t: i64[batch]")
