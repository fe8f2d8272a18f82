"""Fields of messages by the names of options: what a person has typed is told in the words that were typed."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pgfleet.schema.errors import Refusal
from pgfleet.schema.messages import BadMessage

# The fields of `create_reservation`, as they are called at the prompt.
OF_A_RESERVATION = {
    "gpu_type": "--gpu-type",
    "gpu_count": "--gpus",
    "total_nodes": "--nodes",
    "duration_hours": "--hours",
    "name": "--name",
    "user_id": "--user",
    "github_user": "--github-user",
    "dockerimage": "--image",
    "env_vars": "--env",
    "command": "--command",
    "preserve_entrypoint": "--keep-entrypoint",
    "jupyter_enabled": "--jupyter",
    "secondary_users": "--with-user",
    "disk_name": "--disk",
    "disk_size_gb": "--disk-size",
    "idle_minutes": "--idle-minutes",
    "reservation_id": "--id",
    "request_id": "--request-id",
    "start_at": "--at",
}


@contextmanager
def named_as_options(options: Mapping[str, str]) -> Iterator[None]:
    """What is refused in the block is told by the names of options rather than of fields."""
    try:
        yield
    except (BadMessage, Refusal) as error:
        raise type(error)(in_options(str(error), options)) from None


def in_options(text: str, options: Mapping[str, str]) -> str:
    """`--gpus: must be ...` for `gpu_count: must be ...`; also within a field, as in `env_vars.A: ...`."""
    names = re.compile(rf"(?<![\w.-])({'|'.join(options)})(?=(\.[\w.-]+)?: )")
    return names.sub(lambda found: options[found[0]], text)
