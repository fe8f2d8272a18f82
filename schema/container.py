"""What a user may have in a container: refused here, before a pod is sent that Kubernetes or the kubelet refuses.

Limits are such that a pod stays far below the 1.5 MiB that etcd takes, and that a process can be started with it: no
variable, and no argument, may be longer than 128 KiB.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from pgfleet.schema.explaining import explain
from pgfleet.schema.messages import Message, matching

GITHUB_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"
# As 1.34 and later: any printable ASCII but `=`.
VARIABLE = r"^[ -<>-~]{1,255}$"
VARIABLES_LIMIT = 1000
ENVIRONMENT_LIMIT_BYTES = 65_536
COMMAND_LIMIT = 65_536
COMMAND_LIMIT_BYTES = 120_000
IMAGE_LIMIT = 512
IMAGE_NAME_LIMIT = 255
SECONDARY_USERS = 50

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"({_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(:[0-9]+)?/"
_PART = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
_TAG = ":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = "@sha(256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})"
# The grammar of github.com/distribution/reference, which the kubelet reads images by.
IMAGE = rf"^({_DOMAIN})?{_PART}(/{_PART})*({_TAG})?({_DIGEST})?$"

# What could be an image's id is refused as its name.
IMAGE_ID = "^[0-9a-f]{64}$"


def _image(given: str) -> str:
    if len(given) > IMAGE_LIMIT or not re.fullmatch(IMAGE[1:-1], given) or re.fullmatch(IMAGE_ID[1:-1], given):
        raise ValueError("must be an image as registries name them, such as ghcr.io/acme/dev:1")
    path, _, last = given.partition("@")[0].rpartition("/")
    if len(path) + 1 + len(last.partition(":")[0]) > IMAGE_NAME_LIMIT:
        raise ValueError(f"must have a name of at most {IMAGE_NAME_LIMIT} characters")
    return given


# By these a container runtime gives a container devices, whatever its pod was given: all GPUs of the node, say.
GRANTING = ("NVIDIA_", "MELLANOX_", "AMD_VISIBLE_DEVICES", "HABANA_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES")


def _grants(name: str) -> bool:
    return name.strip().upper().startswith(GRANTING)


def _environment(given: dict[str, str]) -> dict[str, str]:
    if any(not name or "=" in name or not (name.isascii() and name.isprintable()) for name in given):
        raise ValueError("names must be printable ASCII characters without '='")
    if any(len(name) > 255 for name in given):
        raise ValueError("names must not have more than 255 characters")
    if any(map(_grants, given)):
        raise ValueError("names must not begin as NVIDIA_ does: what GPUs a container sees is not its own to say")
    if len(given) > VARIABLES_LIMIT:
        raise ValueError(f"must not be more than {VARIABLES_LIMIT}")
    if sum(len(name.encode()) + len(value.encode()) for name, value in given.items()) > ENVIRONMENT_LIMIT_BYTES:
        raise ValueError("must not hold more than 64 KiB")
    return given


def _any_case(word: str) -> str:
    """A pattern of the word in whatever case."""
    return "".join(f"[{letter}{letter.lower()}]" if letter.isalpha() else letter for letter in word)


def _command(given: str) -> str:
    if len(given.encode()) > COMMAND_LIMIT_BYTES:
        raise ValueError(f"must not have more than {COMMAND_LIMIT_BYTES} bytes")
    return given


_ENVIRONMENT_SCHEMA = {
    "propertyNames": {"pattern": VARIABLE, "not": {"pattern": f"^ *({'|'.join(map(_any_case, GRANTING))})"}},
    "maxProperties": VARIABLES_LIMIT,
    "additionalProperties": {"type": "string", "maxLength": ENVIRONMENT_LIMIT_BYTES},
    "description": "At most 64 KiB in all, as UTF-8.",
}
GithubUser = Annotated[
    str,
    matching(GITHUB_NAME, "must be a name at GitHub: letters, digits, '-', '_' and '.', at most 100"),
    Field(json_schema_extra={"pattern": GITHUB_NAME}),
]
Image = Annotated[
    str,
    AfterValidator(_image),
    Field(json_schema_extra={"pattern": IMAGE, "not": {"pattern": IMAGE_ID}, "maxLength": IMAGE_LIMIT, "minLength": 1}),
]
Environment = Annotated[dict[str, str], AfterValidator(_environment), Field(json_schema_extra=_ENVIRONMENT_SCHEMA)]
Command = Annotated[str, StringConstraints(max_length=COMMAND_LIMIT), AfterValidator(_command)]


# People put tokens into these.
SECRET = ("env_vars", "command")


def without_secrets(message: Any) -> Any:
    """The message with the names of environment variables only, and no command."""
    if not isinstance(message, dict):
        return message
    return {**message, **{name: _hidden(message[name]) for name in SECRET if message.get(name)}}


def _hidden(value: Any) -> Any:
    return dict.fromkeys(value, "***") if isinstance(value, dict) else "***"


def nobodys_keys(user_id: str) -> str:
    """What a reservation says in which nobody is named whose SSH keys would let them in."""
    return f"nobody can log in over SSH: no github_user was given, and none is on record for {user_id}"


def is_github_name(given: str) -> bool:
    return re.fullmatch(GITHUB_NAME[1:-1], given) is not None


class Container(Message):
    """The part of a reservation that is its user's own, and ends up in the pod."""

    github_user: GithubUser | None = None
    dockerimage: Image | None = None
    env_vars: Environment = Field(default_factory=dict)
    command: Command | None = None
    preserve_entrypoint: bool = False
    secondary_users: Annotated[list[GithubUser], Field(max_length=SECONDARY_USERS)] = Field(default_factory=list)


def unusable(row: Mapping[str, Any]) -> str | None:
    """Why no pod can be made of a row that another service has inserted; None if one can."""
    given = {name: row[name] for name in Container.model_fields if row.get(name) is not None}
    try:
        Container.model_validate(given)
    except ValidationError as error:
        return explain(error)
    return None
