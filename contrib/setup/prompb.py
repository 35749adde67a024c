"""Prometheus' protobuf messages and snappy blocks, for the programs of contrib and test that speak its wire formats.

A program finds this file from where it stands:

    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "setup"))

Numbers are unsigned as they are read; signed() and unzigzag() make what they mean of them.  Standard library only.
"""
import struct

HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
WRITE_HEADERS = {**HEADERS, "X-Prometheus-Remote-Write-Version": "0.1.0"}
READ_HEADERS = {**HEADERS, "X-Prometheus-Remote-Read-Version": "0.1.0"}


# ---------------------------------------------------------------- numbers

def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def get_varint(data, at):
    """The number there, and where it ends."""
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 127) << shift
        if byte < 128:
            return n, at
        shift += 7


def zigzag(n):
    return n << 1 if n >= 0 else (-n << 1) - 1


def unzigzag(n):
    return n >> 1 ^ -(n & 1)


def signed(n):
    return n - (1 << 64) if n >> 63 else n


# ---------------------------------------------------------------- messages

def field(number, value):
    """A field of an int, a float, a text or bytes (a message, too)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """The fields of a message: (number, value), value being an int or bytes."""
    at = 0
    while at < len(data):
        tag, at = get_varint(data, at)
        if tag & 7 == 0:
            value, at = get_varint(data, at)
        else:
            size = 8
            if tag & 7 == 2:
                size, at = get_varint(data, at)
            elif tag & 7 != 1:
                raise ValueError(f"wire type {tag & 7}")
            value, at = data[at:at + size], at + size
            if len(value) != size:
                raise ValueError("length of a field")
        yield tag >> 3, value


def labels(pairs):
    """The labels of a TimeSeries; pairs sorted by name."""
    return b"".join(field(1, field(1, name) + field(2, value)) for name, value in pairs)


def sample(t_ms, value):
    """A sample of a TimeSeries; value is a float, or the eight bytes of one."""
    return field(2, b"\x09" + (struct.pack("<d", value) if isinstance(value, float) else value) + b"\x10" + varint(t_ms))


# ---------------------------------------------------------------- snappy's block format

def snappy(data):
    """Of literals alone: it is small enough."""
    out = [varint(len(data))]
    for at in range(0, len(data), 65536):
        part = data[at:at + 65536]
        out += [b"\xf4", struct.pack("<H", len(part) - 1), part]
    return b"".join(out)


def unsnappy(data):
    size, at = get_varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                width = length - 59
                length = int.from_bytes(data[at:at + width], "little")
                at += width
            out += data[at:at + length + 1]
            at += length + 1
            continue
        if tag & 3 == 1:
            length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(data[at:at + width], "little")
            at += width
        start = len(out) - offset
        if offset >= length:
            out += out[start:start + length]
        else:
            for i in range(length):
                out.append(out[start + i])
    if len(out) != size:
        raise ValueError("length of the snappy block")
    return bytes(out)
