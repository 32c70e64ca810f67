"""Reading the scalars that `EventWriter` wrote to a run's event files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from runtime.boundary import read_file
from runtime.training.events import EVENT_FILES, record

_LARGEST = 1 << 30  # bytes of a file; a run of a million epochs has fewer


def read_scalars(folder: Path, tag: str) -> dict[int, float]:
    """The value of a tag by step, from all event files in a folder; the latest file's where several have a step.

    A file is read up to its first damaged record: a killed run may leave one.
    """
    values: dict[int, float] = {}
    for path in sorted(folder.glob(EVENT_FILES)):
        try:
            for content in _records(read_file(path, _LARGEST)):
                values |= _scalars(content, tag.encode())
        except (IndexError, struct.error):  # an intact record that is not an event
            continue
    return values


def _scalars(content: bytes, tag: bytes) -> dict[int, float]:
    """The value of a tag in one event, by its step; empty if it has none."""
    event = dict(_fields(content))
    step, summary = event.get(2, 0), event.get(5)
    values: dict[int, float] = {}
    for number, entry in _fields(summary) if isinstance(summary, bytes) else ():
        scalar = dict(_fields(entry)) if number == 1 and isinstance(entry, bytes) else {}
        value = scalar.get(2)
        if scalar.get(1) == tag and isinstance(value, float) and isinstance(step, int):
            values[step] = value
    return values


def _records(data: bytes) -> Iterator[bytes]:
    """The contents of TFRecords, up to the first damaged one."""
    start = 0
    while start + 16 <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        content = data[start + 12 : start + 12 + length]
        end = start + 16 + length
        if end > len(data) or data[start:end] != record(content):
            return
        yield content
        start = end


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of a protocol buffer by number, of the kinds that events have."""
    start = 0
    while start < len(data):
        key, start = _varint(data, start)
        kind = key & 7
        if kind == 0:
            number, start = _varint(data, start)
            yield key >> 3, number
        elif kind == 2:
            length, start = _varint(data, start)
            yield key >> 3, data[start : start + length]
            start += length
        else:  # a double or a float
            size = 8 if kind == 1 else 4
            (value,) = struct.unpack_from("<d" if kind == 1 else "<f", data, start)
            yield key >> 3, float(value)
            start += size


def _varint(data: bytes, start: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[start]
        start += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, start
