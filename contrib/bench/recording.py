"""Recorded series, and how they are sent: what replay and rollup share."""
import struct


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def snappy(data):
    """Literals only: small enough on loopback."""
    out = [varint(len(data))]
    for i in range(0, len(data), 65536):
        part = data[i:i + 65536]
        out += [b"\xf4", struct.pack("<H", len(part) - 1), part]
    return b"".join(out)


def labels(text):
    """The label set as pairs; the text is as Prometheus prints it."""
    out, i = [], text.index("{") + 1
    while text[i] != "}":
        name, i = text[i:text.index("=", i)], text.index("=", i) + 2
        value = ""
        while text[i] != '"':
            if text[i] == "\\":
                i += 1
                value += {"n": "\n"}.get(text[i], text[i])
            else:
                value += text[i]
            i += 1
        i += 1
        while text[i] in ", ":
            i += 1
        out.append((name, value))
    return out


def read(path):
    """[(target, labels, times, value bits)]"""
    with open(path, "rb") as f:
        data = f.read()
    if data[:8] != b"PMDS0001":
        raise SystemExit(f"{path} is no such file (is it still packed?)")
    nseries, at, out = struct.unpack_from("<I", data, 28)[0], 32, []
    for _ in range(nseries):
        target, _, length = struct.unpack_from("<III", data, at)
        text = data[at + 12:at + 12 + length].decode()
        n = struct.unpack_from("<I", data, at + 12 + length)[0]
        at += 16 + length
        out.append((target, labels(text), struct.unpack_from(f"<{n}q", data, at), struct.unpack_from(f"<{n}Q", data, at + 8 * n)))
        at += 16 * n
    return out


def head(pairs, number):
    """The label set as protobuf; each copy of a target is an instance of its own."""
    if number:
        pairs = sorted(pairs + [("replica", str(number))])
    return b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in pairs)
