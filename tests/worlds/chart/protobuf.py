"""A Secret as the clients written in Go send it: Kubernetes' envelope, and in it protobuf's wire format."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

MAGIC = b"k8s\x00"


def secret(sent: bytes) -> dict[str, Any]:
    """What of it helm writes and reads."""
    raw = dict(_fields(sent.removeprefix(MAGIC)))[2]
    metadata: dict[str, Any] = {"labels": {}}
    found: dict[str, Any] = {"metadata": metadata, "data": {}}
    for number, value in _fields(raw):
        match number:
            case 1:
                _describe(metadata, value)
            case 2:
                key, content = _entry(value)
                found["data"][key] = b64encode(content).decode()
            case 3:
                found["type"] = value.decode()
    return found


def _describe(metadata: dict[str, Any], sent: bytes) -> None:
    for number, value in _fields(sent):
        match number:
            case 1:
                metadata["name"] = value.decode()
            case 3:
                metadata["namespace"] = value.decode()
            case 11:
                key, content = _entry(value)
                metadata["labels"][key] = content.decode()


def _entry(sent: bytes) -> tuple[str, bytes]:
    parts = dict(_fields(sent))
    return parts[1].decode(), parts.get(2, b"")


def _fields(sent: bytes) -> Iterator[tuple[int, bytes]]:
    """Each field's number and bytes; numbers, which nobody here asks for, as they stand."""
    at = 0
    while at < len(sent):
        tag, at = _number(sent, at)
        if tag & 7 == 0:
            _, end = _number(sent, at)
        else:
            length, at = _number(sent, at)
            end = at + length
        yield tag >> 3, sent[at:end]
        at = end


def _number(sent: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = sent[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
