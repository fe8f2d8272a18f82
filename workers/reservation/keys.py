"""The SSH keys that let a reservation's users into its pod."""

import time
from collections.abc import Mapping, Sequence

from pgfleet.schema.container import is_github_name, nobodys_keys
from pgfleet.schema.rows.row import Row
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

# A config map holds 1 MiB.
KEYS_LIMIT_BYTES = 1_000_000
# A little more than one user's may take, and less than a lease.
FETCHED_WITHIN_S = 40.0


class NoKeysError(NeverError):
    """The SSH keys of its users are none, or too many."""


def keys_of(row: Row, turn: Turn) -> dict[str, list[str]]:
    """The keys of each of its users; a mistyped other user keeps nobody out. None where nobody is named.

    Raises:
        NeverError: GitHub does not know the reservation's own user.
        TryAgainError: they took too long: a step that goes on for ever would take those of others along.
        NoKeysError: none of those who are named could log in, or a pod can't be given so many keys.
    """
    own = row.github_user
    if own is not None and not is_github_name(own):
        raise NeverError("github_user: is no name at GitHub")
    turn.tools.ssh_keys.remember(turn.view.users_found)
    others = [user for user in row.secondary_users or () if user != own]
    found = {own: turn.tools.ssh_keys.of(own)} if own is not None else {}
    until = time.monotonic() + FETCHED_WITHIN_S
    for user in others:
        if time.monotonic() > until:
            raise TryAgainError(f"the server of SSH keys is too slow for {len(others) + 1} users: name fewer users")
        found[user] = _keys(user, turn)
    keys = [key for of_user in found.values() for key in of_user]
    if found and not keys:
        raise NoKeysError(f"none of {', '.join(found)} has an SSH key on GitHub: nobody could log in")
    size = sum(len(key.encode()) + 1 for key in keys)
    if size > KEYS_LIMIT_BYTES:
        raise NoKeysError(
            f"the {len(keys)} SSH keys of {', '.join(found)} have {size:,} bytes, and a pod can be given "
            f"{KEYS_LIMIT_BYTES:,}: name fewer users"
        )
    return found


def _keys(user: str, turn: Turn) -> list[str]:
    try:
        return turn.tools.ssh_keys.of(user) if is_github_name(user) else []
    except (NeverError, TryAgainError):
        # Nobody of this name, or nobody whose keys are shown: as good as without a key.
        return []


def without_keys(keys: Mapping[str, list[str]]) -> list[str]:
    return [user for user, found in keys.items() if not found]


def warning_of(row: Row, without: Sequence[str]) -> dict[str, str]:
    """What is written to say whom no key lets in, beside what the row warns of already."""
    said = row.warning or ""
    new = [text for text in _warnings(row, without) if text not in said]
    return {"warning": "; ".join([said, *new] if said else new)} if new else {}


def _warnings(row: Row, without: Sequence[str]) -> list[str]:
    named = row.github_user is not None or row.secondary_users
    nobody = [] if named else [nobodys_keys(row.user_id)]
    return [*nobody, lacks_key(without)] if without else nobody


def lacks_key(users: Sequence[str]) -> str:
    return f"no SSH key of {', '.join(users)} is on GitHub: they can't log in"
