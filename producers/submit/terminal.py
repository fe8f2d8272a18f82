"""What our commands print and how they end: the answer alone on stdout, all else on stderr, errors as an exit code."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from pgfleet.schema.errors import FleetError, Refusal

if TYPE_CHECKING:
    from rich.console import Console

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
# What JSON leaves as it is, and a terminal obeys: C1 controls, and marks that turn the direction of text.
COMMANDS_OF_TERMINALS = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Nothing is cut or wrapped for whoever reads a pipe.
PIPE_WIDTH = 2000


@lru_cache
def out() -> "Console":
    """What the command was asked for."""
    from rich.console import Console  # noqa: PLC0415  # slow to import, and --help does without

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


@lru_cache
def err() -> "Console":
    """Progress, hints and errors."""
    from rich.console import Console  # noqa: PLC0415  # slow to import, and --help does without

    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PIPE_WIDTH)


def print_json(value: Any) -> None:
    """One line of JSON on stdout; times are ISO 8601."""
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    sys.stdout.write(COMMANDS_OF_TERMINALS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def run(command: Callable[[], object]) -> NoReturn:
    """Run a command line to its end: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."""
    try:
        command()
    except Refusal as error:
        _end(error, EXIT_FAILED)
    except FleetError as error:
        _end(error, EXIT_USAGE)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    sys.exit(0)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows progress on stderr: one line that changes on a terminal, a line for each change elsewhere."""
    if not err().is_terminal:
        yield lambda text: err().print(text, markup=False)
        return
    from rich.text import Text  # noqa: PLC0415  # slow to import, and --help does without

    with err().status("") as spinner:
        yield lambda text: spinner.update(Text(text))


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that processes that it started are ended too."""
    import signal  # noqa: PLC0415  # only long-running commands need it

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(error: FleetError, code: int) -> NoReturn:
    err().print(str(error), style="red", markup=False)
    sys.exit(code)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else str(value)
