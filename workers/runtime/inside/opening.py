"""The tools of a kind as a process opens them; whatever keeps them from opening is told in a sentence."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pgfleet.schema.database.dsn import redact
from pgfleet.schema.errors import FleetError
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.kind import AnyKind
from pgfleet.workers.runtime.outside.breakers import Breakers

TEXT_LIMIT = 500


@contextmanager
def opened(kind: AnyKind, settings: Settings, breakers: Breakers | None) -> Iterator[Any]:
    """The tools of a kind, closed at the end of the block.

    Raises:
        FleetError: they can't be opened with the settings, files and packages that there are.
    """
    with ExitStack() as stack:
        try:
            tools = stack.enter_context(kind.tools(settings, breakers))
        except FleetError:
            raise
        except Exception as error:  # noqa: BLE001  # a library's error, of whatever sort: there is nothing to work with
            raise FleetError(
                f"The {kind.name} worker can't open what it works with: {in_words(error)}\n"
                "Look at the settings and files that it reads: kubeconfig, certificates, proxies, credentials."
            ) from None
        yield tools


def in_words(error: BaseException) -> str:
    """An error on one line, without its secrets."""
    text = " ".join(str(error).split())
    return redact(f"{type(error).__name__}: {text}" if text else type(error).__name__)[:TEXT_LIMIT]
