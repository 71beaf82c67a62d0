"""How many bytes do packed messages of Arrow hold? Told before they are unpacked.

A message is its metadata, a table of FlatBuffers, and a body; each buffer that is packed in a body
begins with its unpacked length (Arrow's Message.fbs; FlatBuffers' internals: a table begins with
the distance back to the list of its fields' places).
"""

import struct

__all__ = ["length"]

DICTIONARY, BATCH = 2, 3  # kinds of messages that have a body
NOT_PACKED = -1  # in place of an unpacked length


def length(metadata: bytes, body: memoryview) -> int:
    """Bytes of a message's body, unpacked. Raises ValueError for metadata that are damaged."""
    try:
        return _length(metadata, body)
    except struct.error as error:
        raise ValueError("metadata of a message are damaged") from error


def _length(metadata: bytes, body: memoryview) -> int:
    message = _number(metadata, 0, "<L")
    kind = _field(metadata, message, 1)
    header = _field(metadata, message, 2)
    if kind is None or header is None or metadata[kind] not in (DICTIONARY, BATCH):
        return 0
    batch = _pointed(metadata, header)
    if metadata[kind] == DICTIONARY:
        inner = _field(metadata, batch, 1)
        if inner is None:
            return 0
        batch = _pointed(metadata, inner)
    buffers, packing = _field(metadata, batch, 2), _field(metadata, batch, 3)
    if buffers is None or packing is None:
        return len(body)
    vector = _pointed(metadata, buffers)
    places = (vector + 4 + 16 * i for i in range(_number(metadata, vector, "<L")))
    return sum(_unpacked(body, *struct.unpack_from("<qq", metadata, place)) for place in places)


def _unpacked(body: memoryview, offset: int, size: int) -> int:
    """Bytes of one buffer, unpacked; one that claims less than nothing is damaged."""
    if size == 0:
        return 0
    told = _number(body, offset, "<q")
    if told < NOT_PACKED or size < 0 or offset < 0:
        raise struct.error
    return size if told == NOT_PACKED else told


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """The place of a table's field, None where it has none."""
    fields = table - _number(metadata, table, "<l")
    if fields < 0 or 4 + 2 * number >= _number(metadata, fields, "<H"):
        return None
    place = _number(metadata, fields + 4 + 2 * number, "<H")
    return table + place if place else None


def _pointed(metadata: bytes, place: int) -> int:
    """The place that another one points to."""
    return place + _number(metadata, place, "<L")


def _number(content: bytes | memoryview, place: int, form: str) -> int:
    return struct.unpack_from(form, content, place)[0]
