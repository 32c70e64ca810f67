"""An event file, read back by a parser that shares nothing with the writer."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pytest

from runtime.training.events import EventWriter, crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c_of_the_published_vectors(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def bitwise_mask(data: bytes) -> int:
    """The masked checksum without a table."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF


def records(data: bytes) -> list[bytes]:
    found = []
    while data:
        length, check = struct.unpack_from("<QI", data)
        content, rest = data[12 : 12 + length], data[12 + length :]
        assert len(content) == length
        assert check == bitwise_mask(data[:8])
        assert struct.unpack_from("<I", rest)[0] == bitwise_mask(content)
        found.append(content)
        data = rest[4:]
    return found


def fields(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a protocol buffer, by number, in their order."""

    def varint() -> int:
        nonlocal place
        number = shift = 0
        while True:
            byte = data[place]
            place += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    place, found = 0, []
    while place < len(data):
        key = varint()
        value: Any
        match key & 7:
            case 0:
                value = varint()
            case 1:
                (value,) = struct.unpack_from("<d", data, place)
                place += 8
            case 2:
                length = varint()
                value = data[place : place + length]
                place += length
            case 5:
                (value,) = struct.unpack_from("<f", data, place)
                place += 4
        found.append((key >> 3, value))
    return found


def read(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Steps and their scalars; the first record must be the version."""
    first, *events = (dict(fields(each)) for each in records(path.read_bytes()))
    assert first[3] == b"brain.Event:2"
    assert first[1] > 1e9
    found = []
    for event in events:
        values = [dict(fields(value)) for number, value in fields(event[5]) if number == 1]
        found.append((event[2], {value[1].decode(): value[2] for value in values}))
    return found


def test_scalars_come_back_as_float32(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        writer.write_scalars(1, {"loss": 0.5, "val_loss": 0.75})
        writer.write_scalars(300, {"läss": -2.25})
        writer.write_scalars(2**40, {})
    assert read(writer.path) == [(1, {"loss": 0.5, "val_loss": 0.75}), (300, {"läss": -2.25}), (2**40, {})]


def test_the_name_is_one_that_tensorboard_looks_for(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        pass
    words = writer.path.name.split(".")
    assert words[:3] == ["events", "out", "tfevents"]
    assert len(words[3]) == 10 and words[3].isdigit()
    assert words[-1] == "nablac" and words[-2].isdigit()


def test_every_call_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        assert read(writer.path) == []
        writer.write_scalars(1, {"loss": 1.0})
        assert read(writer.path) == [(1, {"loss": 1.0})]


def test_numbers_beyond_a_float32_do_not_end_the_run(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        writer.write_scalars(1, {"up": 1e39, "down": -1e300, "inf": math.inf, "nan": math.nan})
    ((_, values),) = read(writer.path)
    assert (values["up"], values["down"], values["inf"]) == (math.inf, -math.inf, math.inf)
    assert math.isnan(values["nan"])


def test_a_resumed_run_adds_to_what_is_there(tmp_path: Path) -> None:
    for step in (1, 2):
        with EventWriter(tmp_path) as writer:
            writer.write_scalars(step, {"loss": 1.0})
    content = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
    steps = [event[2] for event in (dict(fields(each)) for each in records(content)) if 5 in event]
    assert steps == [1, 2]
