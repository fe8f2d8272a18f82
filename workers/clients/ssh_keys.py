"""Public SSH keys of people, as GitHub serves them: `<url>/<user>.keys`, one key a line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

KEY_TYPES = ("ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-", "sk-ssh-ed25519@", "sk-ecdsa-sha2-")
KEYS_LIMIT = 100


@dataclass(frozen=True, slots=True)
class SshKeys:
    http: httpx.Client
    url: str

    def of(self, user: str) -> list[str]:
        """The user's keys; an empty list where they have published none.

        Raises:
            NeverError: there is no such user.
            TryAgainError: no answer, or not now.
        """
        try:
            answer = self.http.get(self.url.format(user=user))
        except httpx.HTTPError as error:
            raise TryAgainError(f"SSH keys of {user}: {type(error).__name__}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NeverError(f"GitHub knows no user {user}, so there are no SSH keys to let in")
        if answer.status_code != httpx.codes.OK:
            after = answer.headers.get("Retry-After", "")
            raise TryAgainError(
                f"SSH keys of {user}: answered {answer.status_code}",
                after_s=float(after) if after.isdigit() else None,
            )
        lines = (line.strip() for line in answer.text.splitlines())
        return [line for line in lines if line.startswith(KEY_TYPES)][:KEYS_LIMIT]


@contextmanager
def connected(settings: Settings) -> Iterator[SshKeys]:
    with httpx.Client(timeout=settings.ssh_keys_timeout_s, follow_redirects=True, max_redirects=3) as http:
        yield SshKeys(http, settings.ssh_keys_url)
