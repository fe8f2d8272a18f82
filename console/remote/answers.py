"""What an API answers, read with a bound; what answers otherwise is a proxy, or another program."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from pgfleet.console.remote.problems import Away
from pgfleet.schema.queue.reading import DEEPEST, is_deeper

# A page of 200 rows has a hundredth of that.
MOST_BYTES = 64 * 1024 * 1024
_OF_ITS_WAY = ("content-encoding", "content-length", "transfer-encoding")


class Answered(dict[str, Any]):
    """An object of an answer: to ask for what is not in it says that whoever answers is another one."""

    def __missing__(self, name: str) -> Any:
        raise Away(f"What answers is no API of pgfleet, or one of another version: it says nothing of {name}.")


def read_whole(answer: httpx.Response, url: str) -> httpx.Response:
    """The same with its body.

    Raises:
        Away: it has more than MOST_BYTES.
    """
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > MOST_BYTES:
            raise Away(f"{url} is no API of pgfleet: its answer has more than {MOST_BYTES // 2**20} MiB.")
    headers = [(name, value) for name, value in answer.headers.multi_items() if name not in _OF_ITS_WAY]
    return httpx.Response(answer.status_code, headers=headers, content=bytes(content))


def content_of(answer: httpx.Response, url: str) -> Any:
    """The object that it is; None where it has no body."""
    if not answer.content:
        return None
    found = object_of(answer)
    if found is None:
        raise Away(f"{url} is no API of pgfleet: it answers with something else than an object of JSON.")
    return found


def problem_of(answer: httpx.Response, url: str) -> Mapping[str, Any]:
    """Why it was refused."""
    is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    found = object_of(answer) if is_problem else None
    if found is None:
        raise Away(f"{url} answers with status {answer.status_code}, and not as an API of pgfleet does.")
    return found


def object_of(answer: httpx.Response) -> dict[str, Any] | None:
    """The object of JSON that its body is; None where it is none."""
    try:
        found = json.loads(answer.content, object_hook=Answered)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and not is_deeper(found, DEEPEST) else None
