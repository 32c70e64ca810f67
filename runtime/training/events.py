"""TensorBoard event files: TFRecord frames around Event messages, written without TensorFlow or protobuf."""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

_POLYNOMIAL = 0x82F63B78  # of CRC-32C (Castagnoli), reflected


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of RFC 3720, appendix B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A TFRecord: the length and the data, each followed by its masked checksum."""
    length = struct.pack("<Q", len(data))
    return length + _masked_checksum(length) + data + _masked_checksum(data)


def _masked_checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class EventWriter:
    """Writes an event file in `folder`; a resumed run writes another, and TensorBoard merges them."""

    def __init__(self, folder: Path) -> None:
        host = "".join(letter for letter in socket.gethostname() if letter.isalnum() or letter in "-.") or "host"
        self.path = folder / f"events.out.tfevents.{int(time.time()):010d}.{host}.{os.getpid()}.nablac"
        self._file = self.path.open("ab")
        self._write(_text(3, b"brain.Event:2"), step=0)

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one number for each tag at a step, and flush the file."""
        summary = b"".join(_text(1, _text(1, tag.encode()) + _float(2, value)) for tag, value in values.items())
        self._write(_text(5, summary), step)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, content: bytes, step: int) -> None:
        head = b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step)
        self._file.write(record(head + content))
        self._file.flush()


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _text(field: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _float(field: int, value: float) -> bytes:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:  # beyond float32: a diverging loss must not end the run here
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return _varint(field << 3 | 5) + packed
