"""Arrays as PNG files, for pictures in pages."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array

_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # grey, colour, colour with alpha: by the number of channels


def png(image: Array) -> bytes:
    """`image: [channels, height, width]` with values from 0 to 1, of 1, 3 or 4 channels, as a PNG of 8 bits.

    Values outside are cut off. ValueError for an array of another shape. The format is that of ISO/IEC 15948.
    """
    if image.ndim != 3 or image.shape[0] not in _COLOR_TYPES or 0 in image.shape:
        raise ValueError(f"not an image of 1, 3 or 4 channels: {list(image.shape)}")
    channels, height, width = image.shape
    with np.errstate(invalid="ignore"):
        levels = np.round(np.clip(np.nan_to_num(image.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter, which is none
    rows[:, 1:] = levels.transpose(1, 2, 0).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    chunks = _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
