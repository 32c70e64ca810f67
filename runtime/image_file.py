"""Image files as arrays: channels first, from 0 to 1; one reader for training and for `run`.

The array is what a viewer shows: rotated by its EXIF orientation, in its full bit depth, and on white where it is
transparent and the model takes no alpha channel.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import IMAGE
from runtime.boundary import check_pixels, refuse_empty, refuse_other_kinds, translate_errors

if TYPE_CHECKING:
    from compiler.types import Array

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's modes of 8 bits: grey, colour, colour with alpha
_UNSIGNED_16 = ("I;16", "I;16B", "I;16L", "I;16N")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def read_image(
    content: bytes,
    location: str,
    channels: int,
    size: Callable[[int, int], tuple[int, int]],
    note: Callable[[str], None],
) -> Array:
    """The first image of a file as f32[channels, height, width]; see `read_pixels`."""
    return numbers_of(read_pixels(content, location, channels, size, note), channels)


def read_pixels(
    content: bytes,
    location: str,
    channels: int,
    size: Callable[[int, int], tuple[int, int]],
    note: Callable[[str], None],
) -> Array:
    """The first image of a file, as `numbers_of` takes it: u8[height, width, channels], or f32[height, width] of grey.

    `size` maps the image's height and width to the desired ones. `note` is called with what is lost of the file.
    NablacError for a file that holds no image, or too large a one; ImportError without Pillow.
    """
    from PIL import Image

    refuse_empty(content, location)
    refuse_other_kinds(content, "an image", location, but=(IMAGE,))
    with translate_errors(location, "an image"), Image.open(io.BytesIO(content)) as opened:
        check_pixels(*opened.size, location)
        _note_losses(opened, note)
        opened.load()
        image = _upright(opened)
        height, width = size(image.height, image.width)
        grey = _of_many_bits(image, opened, location, note)
        if grey is None:
            return _of_bytes(image, channels, (width, height), note)
    if grey.shape != (height, width):
        resized = Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
        grey = np.asarray(resized, np.float32)
    return grey


def numbers_of(pixels: Array, channels: int) -> Array:
    """The image f32[channels, height, width] of pixels."""
    if pixels.dtype == np.uint8:
        return np.moveaxis(pixels.astype(np.float32) / 255, -1, 0)
    planes = np.broadcast_to(pixels, (min(channels, 3), *pixels.shape))
    return np.concatenate([planes, np.ones_like(planes[:1])]) if channels == 4 else np.array(planes)


def _unreadable(location: str, reason: str, hint: str | None = None) -> NablacError:
    """The error for an image whose numbers cannot be scaled to the range from 0 to 1."""
    return NablacError(Diagnostic(codes.E821, reason, place=location, hint=hint))


def _note_losses(image: Any, note: Callable[[str], None]) -> None:
    """Report what is lost of a file."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a photograph with its preview
        note(f"the first of {frames} frames is used")
    if image.mode in ("LA", "RGB", "RGBA") and any(";16" in str(tile[3]) for tile in image.tile):
        note("16 bits of a channel are read as 8")


def _upright(image: Any) -> Any:
    """The image, rotated by its EXIF orientation."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _of_many_bits(image: Any, opened: Any, location: str, note: Callable[[str], None]) -> Array | None:
    """A grey image of 16 bits or of floats as f32 from 0 to 1; None for an image of 8 bits a channel."""
    if image.mode in _UNSIGNED_16 or (image.mode == "I" and _has_16_bits(opened)):
        numbers = np.asarray(image)
        grey = numbers.astype(np.float32) / np.float32(65535)
        if "transparency" in image.info:
            note("transparent parts become white")
            grey[numbers == image.info["transparency"]] = 1
        return grey
    if image.mode == "F":
        numbers = np.asarray(image, np.float32)
        if not (numbers.min() >= 0 and numbers.max() <= 1):  # NaN is neither
            reason = f"expected floats from 0 to 1, got {numbers.min():g} to {numbers.max():g}"
            raise _unreadable(location, reason, "scale it, or give the array as `.npy`, which is taken as it is")
        return numbers
    if image.mode.startswith("I"):
        reason = (
            f"an image of integers of {'signed 16' if ';16' in image.mode else '32'} bits, whose white level is unknown"
        )
        raise _unreadable(location, reason, "convert it to 8 or 16 bits, or give the array as `.npy`")
    return None


def _has_16_bits(opened: Any) -> bool:
    """Whether 32-bit integers were unsigned 16-bit ones in the file: older versions of Pillow widen them."""
    tags = getattr(opened, "tag_v2", None)
    if tags is None:
        return bool(opened.format == "PNG")  # whose channels have at most 16 bits
    return bool(tags.get(258, (0,))[0] == 16 and tags.get(339, (1,))[0] == 1)  # BitsPerSample, SampleFormat


def _of_bytes(image: Any, channels: int, size: tuple[int, int], note: Callable[[str], None]) -> Array:
    """An image whose channels have 8 bits or fewer."""
    from PIL import Image

    if channels != 4 and (image.mode in _WITH_ALPHA or "transparency" in image.info):
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            note("transparent parts become white")
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image)
        image = image.convert("RGB")
    image = image.convert(CHANNELS[channels])
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)
