"""The commands that are run in pods, and what is believed of what they write."""

import re
from collections.abc import Sequence

WORKSPACE = "/workspace"
# Sixteen GPUs, a number and its line each, and room for a driver that adds spaces; what is longer is none of its.
USE_BYTES = 256
USE_OF_GPUS = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
PERCENT = re.compile(rb"[ \t]*([0-9]{1,3})[ \t]*")

# A file that is a link leads somewhere else: it goes first. $0 is where, and $1 and $2 are name and text.
_CLEAR = 'cd "$0" && rm -f WARN_EXPIRES_IN_*MIN.txt'
_WARN = f'{_CLEAR} && printf \'%s\\n\' "$2" > "$1"'


def warning_file(minutes: int) -> str:
    return f"WARN_EXPIRES_IN_{minutes}MIN.txt"


def warning(minutes: int, text: str, folder: str = WORKSPACE) -> Sequence[str]:
    """Write the file of this warning; those of others go."""
    return ("/bin/sh", "-c", _WARN, folder, warning_file(minutes), text)


def clearing(folder: str = WORKSPACE) -> Sequence[str]:
    return ("/bin/sh", "-c", _CLEAR, folder)


def use_in(written: bytes, gpus: int) -> tuple[int, ...] | None:
    """The percentages of so many GPUs, a line each; None for anything else."""
    lines = [PERCENT.fullmatch(line) for line in written.splitlines()]
    found = [int(line[1]) for line in lines if line is not None]
    is_all = gpus > 0 and len(lines) == len(found) == gpus
    return tuple(found) if is_all and max(found) <= 100 else None
