"""Public SSH keys of people, as GitHub serves them: `<url>/<user>.keys`, one key a line."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

from pgfleet.schema.container import is_github_name
from pgfleet.schema.fetching.fetch import Fetcher, NoReplyError, Reply, fetching, in_path
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.retry_after import retry_after_s
from pgfleet.workers.clients.verdicts import NO_SENSE, SSH_KEYS, Verdict, status_class, verdict
from pgfleet.workers.runtime.outcomes import Calls, NeverError, NotNowError, TryAgainError
from pgfleet.workers.runtime.outside.breakers import Breakers
from pgfleet.workers.runtime.outside.guard import Guard

KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        *(f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521)),
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
KEYS_LIMIT = 100
# The longest is an RSA key of 16,384 bits, as OpenSSH takes them.
KEY_BYTES = 4096
ANSWER_BYTES = 256 * 1024
OK, REDIRECT, BAD, NOT_FOUND = 200, 300, 400, 404
# One may have left GitHub since.
MOST_FOUND = 3
MISTAKEN = "is not asked: its address has no {user}, no http(s), or a password"
UNREACHABLE = "SSH_KEYS_UNREACHABLE"
# A name that nobody may have at GitHub.
NOBODY = "-pgfleet-asks-about-nobody-"


@dataclass(frozen=True, slots=True)
class SshKeys:
    """Keys from one server; `found` are users that it knew, the last ones first."""

    fetcher: Fetcher
    url: str
    guard: Guard
    found: list[str]

    def of(self, user: str) -> list[str]:
        """The user's keys; an empty list where they have published none.

        Raises:
            NeverError: there is no such user, or can be none.
            NotNowError: the server is in trouble.
            TryAgainError: it answers something that makes no sense.
        """
        if not is_github_name(user) or not user.strip("."):
            raise NeverError("this is no name at GitHub, so there are no SSH keys to let in")
        self.guard.check(Calls.READ)
        answer = ask(self.fetcher, self.url, user)
        if isinstance(answer, Trouble):
            raise self.guard.unanswered(answer.error, surely=answer.is_sure)
        if verdict(SSH_KEYS, Calls.READ, _named(answer)) is Verdict.ASK_ROW:
            raise self._unknown(user)
        if answer.status != OK:
            raise TryAgainError(f"SSH keys of {user}: answered {answer.status}")
        self.remember([user], first=True)
        found = map(key_of, answer.text.split("\n"))
        return list(islice((key for key in found if key), KEYS_LIMIT))

    def remember(self, users: Sequence[str], *, first: bool = False) -> None:
        """Users that the server knew: what it says of others is believed as long as it knows one of them."""
        known = [*users, *self.found] if first else [*self.found, *users]
        self.found[:] = [*dict.fromkeys(known)][:MOST_FOUND]

    def probe(self, waiting: Sequence[str] = ()) -> None:
        """Ask about nobody, and where that says nothing, about those who were found, or who wait to be.

        Raises:
            NotNowError: that is not answered, or nobody is known any more.
        """
        answer = probe(self.fetcher, self.url)
        if answer.status != NOT_FOUND or not self.found:
            return
        for user in dict.fromkeys([*self.found, *waiting]):
            known = ask(self.fetcher, self.url, user)
            if isinstance(known, Reply) and known.status == OK:
                self.remember([user], first=True)
                return
        raise _out(f"the server of SSH keys knows nobody any more, not even {self.found[0]}: {NOT_FOUND} for everybody")

    def _unknown(self, user: str) -> Exception:
        """The user's mistake only if the server is well: it knows others, or has at least a front page."""
        error = _out(f"the server of SSH keys answered {NOT_FOUND} for {user}, and for whatever else it was asked")
        raised = self.guard.unanswered(error)
        if raised is not error or not (self.found or self._has_front()):
            return raised
        return NeverError(f"GitHub knows no user {user}, so there are no SSH keys to let in")

    def _has_front(self) -> bool:
        """Whether anything but 404 is at the root: a proxy that leads nowhere says the same there."""
        root = urlsplit(self.url)._replace(path="/", query="").geturl()
        try:
            return self.fetcher.fetch("GET", root).status != NOT_FOUND
        except NoReplyError:
            return True

    def lacking(self) -> list[str | NotNowError]:
        """What keeps the server from being asked, in words; an error where it is away."""
        if not _is_address(self.url):
            where = f"an answer of the SSH key server at {shown(self.url)}"
            return [f"{where}: it {MISTAKEN} (PGFLEET_SSH_KEYS_URL)"]
        answer = ask(self.fetcher, self.url, NOBODY)
        # One that lets nobody in may do so only who can be nobody.
        return [answer.error] if isinstance(answer, Trouble) and not answer.is_sure else []


def _asked(fetcher: Fetcher, url: str, user: str) -> Reply:
    """The answer about somebody."""
    if not _is_address(url):
        raise NoReplyError(MISTAKEN)
    return fetcher.fetch("GET", url.replace("{user}", in_path(user)))


def _is_address(url: str) -> bool:
    """Whether anybody can be asked for. Where a name has no place in it, everybody would have the same keys."""
    return "{user}" in url and urlsplit(url).scheme in ("http", "https") and "@" not in urlsplit(url).netloc


def shown(url: str) -> str:
    """An address without what should not be in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl() if "@" in parts.netloc else url


def key_of(line: str) -> str | None:
    """The key in a line, without its comment; None where it is none, or has options, which sshd would obey."""
    match line.strip(" \t\r").split(" ")[:2]:
        case [name, text] if name in KEY_TYPES and len(text) <= KEY_BYTES and _is_key(name, text):
            return f"{name} {text}"
    return None


def _is_key(name: str, text: str) -> bool:
    """Whether this is base64 of a key of that type, whose name is the first thing in it."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return blob.startswith(len(name).to_bytes(4, "big") + name.encode())


@dataclass(frozen=True, slots=True)
class Trouble:
    """The server's own, whoever is asked for; `is_sure` where it says so itself."""

    error: NotNowError
    is_sure: bool = False


def ask(fetcher: Fetcher, url: str, user: str) -> Reply | Trouble:
    """The answer about somebody, or why there is none."""
    try:
        answer = _asked(fetcher, url, user)
    except NoReplyError as error:
        return Trouble(_out(f"the server of SSH keys {error}"))
    found = verdict(SSH_KEYS, Calls.READ, _named(answer))
    if found not in (Verdict.OUT, Verdict.ASK):
        return answer
    said = "with a web page, and not with keys" if _is_page(answer) else str(answer.status)
    after_s = retry_after_s(answer.headers.get("retry-after"), answer.headers.get("date"))
    return Trouble(_out(f"the server of SSH keys answered {said}", after_s), is_sure=found is Verdict.OUT)


def probe(fetcher: Fetcher, url: str) -> Reply:
    """The answer about nobody.

    Raises:
        NotNowError: that is not answered.
    """
    answer = ask(fetcher, url, NOBODY)
    if isinstance(answer, Trouble):
        raise answer.error
    return answer


def _is_page(answer: Reply) -> bool:
    """A proxy, or a server that wants people to sign in, answers so whoever is asked for: that is nobody's keys."""
    return answer.status == OK and (answer.is_of_type("text/html") or answer.text.lstrip().startswith("<"))


def _named(answer: Reply) -> str:
    """The answer as the table of verdicts calls it. A page instead of keys must not look like a user without any.

    A redirect is none, either: it is not followed, as it may lead anywhere.
    """
    is_elsewhere = REDIRECT <= answer.status < BAD
    return NO_SENSE if is_elsewhere or _is_page(answer) else status_class(answer.status)


def _out(words: str, after_s: float | None = None) -> NotNowError:
    return NotNowError(SSH_KEYS, Calls.READ, UNREACHABLE, words, after_s)


@contextmanager
def connected(settings: Settings, breakers: Breakers | None = None) -> Iterator[SshKeys]:
    proxy = settings.ssh_keys_proxy.get_secret_value() if settings.ssh_keys_proxy else None
    with fetching(settings.ssh_keys_timeout_s, ANSWER_BYTES, proxy) as fetcher:
        guard = Guard(SSH_KEYS, breakers, lambda _calls: keys.probe())
        keys = SshKeys(fetcher, settings.ssh_keys_url, guard, [])
        yield keys
