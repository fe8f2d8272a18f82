"""Keys that `pgfleet login` keeps: `~/.config/pgfleet/credentials.json`, of mode 600, one entry a URL."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pgfleet.schema.errors import FleetError

PRIVATE = 0o600
OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Login:
    """What is kept of one API."""

    username: str
    key: str = field(repr=False)
    key_id: int | None = None  # None of a key that was given: nobody here knows its number
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The file: the login of each URL, and which of them is used where none is named."""

    current: str | None = None
    logins: Mapping[str, Login] = field(default_factory=dict)


def path() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "pgfleet" / "credentials.json"


def read() -> Kept:
    """What is kept; nothing where there is no file.

    Raises:
        FleetError: it can't be read, or others can read it; the message never has what is in it.
    """
    where = path()
    try:
        with where.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except FileNotFoundError:
        return Kept()
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"{where} can't be read: {type(error).__name__}") from None
    if mode & OTHERS:
        raise FleetError(
            f"{where} has your keys, and others can read it (mode {mode & 0o777:o}): chmod 600 {where}. If others may "
            "have read it, log in anew: pgfleet logout, then pgfleet login."
        )
    return _kept(where, text)


def _kept(where: Path, text: str) -> Kept:
    try:
        found: dict[str, Any] = json.loads(text)
        logins = {url: Login(**login) for url, login in found["logins"].items()}
        return Kept(found["current"], logins)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise FleetError(f"{where} is not what `pgfleet login` writes. Remove it, and log in anew.") from None


def save(url: str, login: Login) -> Path:
    """Keep a login, which is the one that is used from now on; where it is kept."""
    kept = read()
    return _write(Kept(url, {**kept.logins, url: login}))


def forget(url: str) -> None:
    """Keep nothing of a URL any more."""
    kept = read()
    logins = {known: login for known, login in kept.logins.items() if known != url}
    current = next(iter(logins), None) if kept.current == url else kept.current
    _write(Kept(current, logins))


def _write(kept: Kept) -> Path:
    """Whole or not at all, and for nobody else to read at any moment."""
    where = path()
    where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = where.with_name(f"{where.name}.{os.getpid()}")
    text = json.dumps({"current": kept.current, "logins": {url: asdict(login) for url, login in kept.logins.items()}})
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "w", encoding="utf-8") as file:
            file.write(text + "\n")
        new.replace(where)
    except OSError as error:
        raise FleetError(f"{where} can't be written: {error.strerror}") from None
    return where
