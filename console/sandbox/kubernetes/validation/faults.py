"""What is wrong with an object: fields, each with why in the words of Kubernetes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Faults = list[tuple[str, str]]

REQUIRED = "Required value"

LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
OLD_LABEL = r"[a-z]([-a-z0-9]*[a-z0-9])?"
QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
CONFIG_KEY = r"[-._a-zA-Z0-9]+"

NOT_A_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with"
    f" an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
)
NOT_A_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    f" end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
)
NOT_AN_OLD_LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character,"
    " and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is"
    f" '{OLD_LABEL}')"
)
NOT_QUALIFIED = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    f" (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{QUALIFIED}')"
)
NOT_A_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    f" '({QUALIFIED})?')"
)
NOT_A_CONFIG_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
    f" or 'key-name', regex used for validation is '{CONFIG_KEY}')"
)


def invalid_value(value: Any, why: str) -> str:
    shown = f'"{value}"' if isinstance(value, str) else value
    return f"Invalid value: {shown}: {why}"


def unsupported(value: str, *supported: str) -> str:
    listed = ", ".join(f'"{each}"' for each in sorted(supported))
    return f'Unsupported value: "{value}": supported values: {listed}'


def why_no_label(name: str) -> Iterator[str]:
    return _why(name, LABEL, 63, NOT_A_LABEL)


def why_no_old_label(name: str) -> Iterator[str]:
    return _why(name, OLD_LABEL, 63, NOT_AN_OLD_LABEL)


def why_no_subdomain(name: str) -> Iterator[str]:
    return _why(name, SUBDOMAIN, 253, NOT_A_SUBDOMAIN)


def why_no_label_value(value: str) -> Iterator[str]:
    return _why(value, f"({QUALIFIED})?", 63, NOT_A_LABEL_VALUE)


def why_no_config_key(key: str) -> Iterator[str]:
    return _why(key, CONFIG_KEY, 253, NOT_A_CONFIG_KEY)


def why_not_qualified(key: str) -> Iterator[str]:
    """Of a key of labels, annotations and the like: a name, after a domain and a slash if it likes."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        prefixed = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        yield f"a qualified name {NOT_QUALIFIED} {prefixed}"
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash:
        yield from (f"prefix part {why}" for why in why_no_subdomain(prefix))
    if not name:
        yield "name part must be non-empty"
    yield from (f"name part {why}" for why in _why(name, QUALIFIED, 63, NOT_QUALIFIED))


def _why(text: str, pattern: str, longest: int, why: str) -> Iterator[str]:
    """In the order of Kubernetes: the length, then the form."""
    if len(text.encode()) > longest:
        yield f"must be no more than {longest} bytes"
    if not re.fullmatch(pattern, text):
        yield why
