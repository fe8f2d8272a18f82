"""What is given away to come back as it is, a cursor or a cookie: whoever holds it is to read nothing into it.

It proves nothing: anybody may make one.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from pgfleet.schema.printable import UNSTORABLE


def closed(*parts: Any) -> str:
    """Some values of JSON as letters, digits, `-` and `_`."""
    return urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def opened(text: str) -> list[Any]:
    """What it was made of; its texts are such as the database can hold.

    Raises:
        ValueError: `closed` has not made it.
    """
    try:
        parts = json.loads(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(parts, list) or any(isinstance(part, str) and UNSTORABLE.search(part) for part in parts):
        raise ValueError("it is no list of what was given")
    return parts
