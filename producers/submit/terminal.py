"""What our commands print and how they end: the answer alone on stdout, all else on stderr, errors as an exit code."""

import errno
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.printable import UNSTORABLE

if TYPE_CHECKING:
    from rich.console import Console

# Why an answer may not be written: nobody reads it, its disk is full, or what it goes to is closed or broken.
UNWRITTEN = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
AGAIN_S = 0.05
# How every command ends, as --help and `console/README.md` say.
EXITS = {
    0: "done",
    EXIT_FAILED: "refused, failed, or something was found",
    EXIT_USAGE: "could not begin: wrong usage, a wrong setting, or no database as it has to be",
    EXIT_INTERRUPTED: "interrupted: what was sent goes on",
}
ENDS = "It ends with " + "; ".join(f"{code}: {meaning}" for code, meaning in EXITS.items()) + "."
# JSON leaves these as they are; among them is what a terminal obeys, or what turns the direction of text.
BEYOND_ASCII = re.compile(r"[^\n -~]")
# Nothing is cut or wrapped for whoever reads a pipe.
PIPE_WIDTH = 2000


@lru_cache
def out() -> "Console":
    """What the command was asked for."""
    return _plain_console(sys.stdout, stderr=False)


@lru_cache
def err() -> "Console":
    """Progress, hints and errors."""
    return _plain_console(sys.stderr, stderr=True)


def _plain_console(stream: TextIO, *, stderr: bool) -> "Console":
    from pgfleet.producers.submit.plain import Plain  # noqa: PLC0415  # slow to import, and --help does without

    return Plain(stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH)


def print_json(value: Any) -> None:
    """One line of JSON on stdout; times are ISO 8601."""
    text = json.dumps(value, default=_plain, ensure_ascii=not _writes_all_letters(sys.stdout))
    sys.stdout.write(BEYOND_ASCII.sub(lambda found: _shown(found[0]), text) + "\n")
    sys.stdout.flush()


def _shown(letter: str) -> str:
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def run(command: Callable[..., object]) -> NoReturn:
    """Run a typer application to its end, by the codes in EXITS. With --json, an error is the last line of stderr."""
    _open_what_is_closed()
    _write_what_can_be_written()
    _GOES_ON.clear()
    _tell_misspelt()
    code = _code(command)
    if code == EXIT_INTERRUPTED:
        _tell("".join(_GOES_ON), code)
    sys.exit(code)


def _code(command: Callable[..., object]) -> int:
    """What it ends with; errors are printed."""
    import typer  # noqa: PLC0415  # slow to import

    wrong_usage: type[Exception] = typer.BadParameter.__mro__[2]  # click's, which typer has under another name by now
    try:
        _refuse_what_is_no_text()
        with _interrupts_kept():
            code = command(standalone_mode=False)
    except Refusal as error:
        return _tell(str(error), EXIT_FAILED)
    except FleetError as error:
        return _tell(str(error), EXIT_USAGE)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except wrong_usage as error:
        return _tell(_usage(error), EXIT_USAGE)
    except OSError as error:
        return _unwritten(error)
    return code if isinstance(code, int) else 0


def _unwritten(error: OSError) -> int:
    """Of what the answer was written to, such as a disk that is full; any other goes on."""
    if error.filename is not None or error.errno not in UNWRITTEN:
        raise error
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has seen enough.
        return EXIT_FAILED
    told = " ".join([f"The answer can't be written: {error.strerror}.", *_GOES_ON])
    return _tell(told, EXIT_FAILED)


def _usage(error: Any) -> str:
    """What is wrong with what was typed. One with no message has printed the help."""
    told = error.format_message() if type(error).__name__ != "NoArgsIsHelpError" else ""
    if getattr(error, "possibilities", None):
        told = f"{error.message}; did you mean {' or '.join(error.possibilities[:2])}?"
    path = error.ctx.command_path if told and error.ctx is not None else None
    return f"{told}\n{error.ctx.get_usage()}\nMore: {path} --help" if path else told


# What is said of what was sent, where the command is interrupted.
_GOES_ON: list[str] = []


def goes_on(text: str) -> None:
    """From now on, this is said when the command is interrupted."""
    _GOES_ON[:] = [text]


def wants_json() -> bool:
    return "--json" in sys.argv[1:]


def _writes_all_letters(stream: Any) -> bool:
    return "utf" in (getattr(stream, "encoding", None) or "utf-8").lower()


def _write_what_can_be_written() -> None:
    """On a terminal that knows fewer letters, others are written as `?`."""
    for stream in (sys.stdout, sys.stderr):
        if not _writes_all_letters(stream) and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _open_what_is_closed() -> None:
    """What a shell has closed (`>&-`), Python has not got: whoever did that wants to read nothing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # to the end


def _refuse_what_is_no_text() -> None:
    """Bytes that are no UTF-8 come as halves of letters, which neither a message nor the database can hold."""
    for given in (*sys.argv[1:], os.environ.get("PGFLEET_USER", "")):
        if UNSTORABLE.search(given):
            raise FleetError(f"{given!a} is no UTF-8 text.")


def _tell_misspelt() -> None:
    """Warn of settings with a typo, before all else."""
    if any(name.startswith("PGFLEET_") for name in os.environ):
        from pgfleet.schema.environment.misspelt import misspelt  # noqa: PLC0415  # slow to import, and most have none

        for given, meant in misspelt(os.environ).items():
            sys.stderr.write(f"{given} is no setting; did you mean {meant}?\n")


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Ctrl-C while an object is finalized (a connection, say), where nothing can be raised, comes again soon after."""
    main = threading.main_thread().ident or 0

    def told(what: "sys.UnraisableHookArgs") -> None:
        if isinstance(what.exc_value, KeyboardInterrupt):
            threading.Timer(AGAIN_S, signal.pthread_kill, (main, signal.SIGINT)).start()
        else:
            before(what)

    before, sys.unraisablehook = sys.unraisablehook, told
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows progress on stderr: one line that changes on a terminal, a line for each change elsewhere."""
    if not err().is_terminal:
        yield lambda text: err().print(text)
        return
    from rich.text import Text  # noqa: PLC0415  # slow to import, and --help does without

    with err().status("") as spinner:
        yield lambda text: spinner.update(Text(text))


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that processes that it started are ended too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(text: str, code: int) -> int:
    """Print why it ends so; nothing where that was said already."""
    if wants_json():
        sys.stderr.write(json.dumps({"error": text or EXITS[code], "exit_code": code}) + "\n")
    elif text:
        err().print(text, style=None if code == EXIT_INTERRUPTED else "red", soft_wrap=True)
    return code


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else str(value)
