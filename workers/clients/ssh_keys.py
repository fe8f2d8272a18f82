"""Public SSH keys of people, as GitHub serves them: `<url>/<user>.keys`, one key a line."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

from pgfleet.schema.container import is_github_name
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.fetching import Fetcher, NoReplyError, Reply, fetching, in_path
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
OK, REDIRECT, BAD, SERVER_ERROR = 200, 300, 400, 500
UNREACHABLE = "SSH_KEYS_UNREACHABLE"
# A name that nobody may have at GitHub.
NOBODY = "-pgfleet-asks-about-nobody-"


@dataclass(frozen=True, slots=True)
class SshKeys:
    fetcher: Fetcher
    url: str
    guard: Guard

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
        if verdict(SSH_KEYS, Calls.READ, _named(answer)) is Verdict.NEVER:
            raise NeverError(f"GitHub knows no user {user}, so there are no SSH keys to let in")
        if answer.status != OK:
            raise TryAgainError(f"SSH keys of {user}: answered {answer.status}")
        found = map(key_of, answer.text.split("\n"))
        return list(islice((key for key in found if key), KEYS_LIMIT))

    def lacking(self) -> list[str]:
        """What keeps the server from being asked, in words; whatever it says of nobody's keys, it answers."""
        server = f"the SSH key server at {shown(self.url)}"
        try:
            answer = _asked(self.fetcher, self.url, NOBODY)
        except NoReplyError as error:
            return [f"an answer of {server}: it {error} (PGFLEET_SSH_KEYS_URL)"]
        if answer.status >= SERVER_ERROR:
            return [f"an answer of {server}: {answer.status} (PGFLEET_SSH_KEYS_URL)"]
        if _is_page(answer):
            return [f"keys of {server}, which answers with a web page (PGFLEET_SSH_KEYS_URL)"]
        return []


def _asked(fetcher: Fetcher, url: str, user: str) -> Reply:
    """The answer about somebody. Where their name has no place in the address, everybody would have the same keys."""
    if "{user}" not in url or not urlsplit(url).scheme.startswith("http") or "@" in urlsplit(url).netloc:
        raise NoReplyError("is not asked: its address has no {user}, no http(s), or a password")
    return fetcher.fetch("GET", url.replace("{user}", in_path(user)))


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


def probe(fetcher: Fetcher, url: str) -> None:
    """Ask about nobody.

    Raises:
        NotNowError: that is not answered.
    """
    answer = ask(fetcher, url, NOBODY)
    if isinstance(answer, Trouble):
        raise answer.error


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
        guard = Guard(SSH_KEYS, breakers, lambda _calls: probe(fetcher, settings.ssh_keys_url))
        yield SshKeys(fetcher, settings.ssh_keys_url, guard)
