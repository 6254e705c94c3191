"""TFRecord files and the protocol buffers in them, without TensorFlow.

A record is: length (8 bytes, little endian), masked CRC-32C of the length (4), data, masked CRC-32C of the data (4).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 23
_LONGEST = 1 << 24  # bytes of one record; a benchmark's has some 500
_SMALLEST = 16  # bytes of a record without data


def records(path: Path, advance: Callable[[int], object]) -> Iterator[bytes]:
    """The data of every record; ``advance`` is told the bytes read.

    Raises:
        ValueError: a checksum does not match, or the file ends within a record.
    """
    buffer, offset = b"", 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            advance(len(piece))
            buffer += piece
            bounds, end, intact = _whole_records(np.frombuffer(buffer, np.uint8), _TABLE)
            for start, stop in bounds.tolist():
                yield buffer[start:stop]
            if not intact:
                raise ValueError(f"the record at byte {offset + end:,} does not match its checksum")
            buffer, offset = buffer[end:], offset + end
    if buffer:
        raise ValueError(f"it ends within the record at byte {offset:,}")


def is_tfrecord(path: Path) -> bool:
    """Whether a file begins with the head of a record."""
    with path.open("rb") as file:
        head = file.read(12)
    return len(head) == 12 and int.from_bytes(head[8:], "little") == masked_crc(head[:8])


def masked_crc(data: bytes) -> int:
    """CRC-32C in the masked form of TFRecord."""
    return int(_masked_crc(np.frombuffer(data, np.uint8), _TABLE))


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Number and value of each field of a protocol buffer: an int, a double or bytes (a text or an inner message).

    Raises ``ValueError`` for what is none.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        length, position = _varint(message, position) if wire_type == 2 else (_WIDTHS.get(wire_type, 0), position)
        data = message[position : position + length]
        if wire_type not in (1, 2, 5) or len(data) != length:
            raise ValueError("a protocol buffer in it is malformed")
        position += length
        yield number, (data if wire_type == 2 else struct.unpack("<d" if wire_type == 1 else "<f", data)[0])


_WIDTHS = {1: 8, 5: 4}


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise ValueError("a protocol buffer in it is malformed")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _crc_table() -> NDArray[np.uint32]:
    """CRC-32C (Castagnoli, reflected) of each byte."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(0x82F63B78), crc >> 1)
    return crc


_TABLE = _crc_table()


@numba.njit(cache=True)
def _masked_crc(data: NDArray[np.uint8], table: NDArray[np.uint32]) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = int(table[(crc ^ int(byte)) & 0xFF]) ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@numba.njit(cache=True)
def _little_endian(data: NDArray[np.uint8]) -> int:
    value = 0
    for i in range(len(data)):
        value |= int(data[i]) << (8 * i)
    return value


@numba.njit(cache=True)
def _whole_records(buffer: NDArray[np.uint8], table: NDArray[np.uint32]) -> tuple[NDArray[np.int64], int, bool]:
    """Where the data of each whole record starts and ends, where the last record ends, whether the next is intact."""
    bounds = np.empty((len(buffer) // _SMALLEST, 2), np.int64)
    count, position, intact = 0, 0, True
    while position + 12 <= len(buffer):
        head = buffer[position : position + 8]
        length, start = _little_endian(head), position + 12
        intact = _masked_crc(head, table) == _little_endian(buffer[position + 8 : start]) and 0 <= length <= _LONGEST
        if not intact or start + length + 4 > len(buffer):
            break
        end = start + length
        intact = _masked_crc(buffer[start:end], table) == _little_endian(buffer[end : end + 4])
        if not intact:
            break
        bounds[count, 0], bounds[count, 1] = start, end
        count, position = count + 1, end + 4
    return bounds[:count], position, intact
