"""How this program talks to AWS: one try a call, errors by their code.

Whose trouble an answer is says the table of `verdicts.py`. Texts of credentials and permissions quote keys: of those
only the code is shown.

botocore's errors are never chained: they carry requests and answers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    InvalidConfigError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from pgfleet.schema.printable import printable
from pgfleet.schema.settings import Settings
from pgfleet.schema.tracing import spans
from pgfleet.workers.clients.aws.signing import Signed, signed
from pgfleet.workers.clients.aws.throttle import Throttle
from pgfleet.workers.clients.retry_after import retry_after_s
from pgfleet.workers.clients.verdicts import (
    CREDENTIALS,
    EC2,
    NAMED,
    NO_ANSWER,
    RIGHTS,
    THROTTLED,
    UNHEARD,
    Verdict,
    verdict,
)
from pgfleet.workers.runtime.outcomes import Calls, NoPlaceError, NotNowError, RefusedError, TryAgainError
from pgfleet.workers.runtime.outside.breakers import Breakers
from pgfleet.workers.runtime.outside.guard import Guard

# Seconds until asking again makes sense.
ZONE_FULL_S = 5.0
WAITS_S = {"ConcurrentTagAccess": 5.0, "IncorrectState": 5.0, "VolumeInUse": 30.0, "InvalidSnapshot.InUse": 60.0}

UNREACHABLE = "AWS_UNREACHABLE"
REFUSES = "AWS_REFUSES"
# The calls of each method; one that is not here reads.
CALLS = {
    **dict.fromkeys(("create_volume", "create_snapshot", "copy_snapshot", "create_tags", "put_object"), Calls.MAKE),
    **dict.fromkeys(("delete_volume", "delete_snapshot", "delete_object"), Calls.DELETE),
}
NO_CREDENTIALS = (
    CredentialRetrievalError,
    # The file of a web identity's token.
    FileNotFoundError,
    PermissionError,
    InvalidConfigError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
# Another zone may have room, or this type of volume.
ZONE_FULL = frozenset({"InsufficientVolumeCapacity", "VolumeTypeNotAvailableInZone"})

R = TypeVar("R")


class VolumeGoneError(RefusedError):
    """AWS says that there is no such volume."""


class SnapshotGoneError(RefusedError):
    """AWS says that there is no such snapshot."""


class ZoneFullError(TryAgainError):
    """AWS has no room for a volume in this zone now; another zone may have some."""


class TokenTakenError(RefusedError):
    """The token of what was to be made was used before, for something else."""


class BucketGoneError(RefusedError):
    """AWS says that there is no such bucket."""


KNOWN: dict[str, type[RefusedError]] = {
    "InvalidVolume.NotFound": VolumeGoneError,
    "InvalidSnapshot.NotFound": SnapshotGoneError,
    "NoSuchBucket": BucketGoneError,
    "IdempotentParameterMismatch": TokenTakenError,
}


@dataclass(frozen=True, slots=True)
class Service:
    """A boto3 client, which the threads of a process share. No call takes longer than the settings allow."""

    signed: Signed
    name: str
    guard: Guard | None = None
    throttle: Throttle = field(default_factory=Throttle)

    @property
    def client(self) -> Any:
        """With the credentials of this moment."""
        return self.signed.client

    def ask(self, method: str, read: Callable[[Any], R], **given: Any) -> R:
        """What `read` makes of the answer.

        Raises:
            NotNowError: AWS is in trouble, or does not know us.
            NoPlaceError: a limit of the account is reached.
            TryAgainError: AWS can't do this now to what it was asked about.
            RefusedError: AWS has answered, and it is no.
        """
        calls = CALLS.get(method, Calls.READ)
        if self.guard is not None:
            self.guard.check(calls)
        used = self.client
        answered = self._answer(method, read, given)
        if isinstance(answered, Problem) and answered.answer in CREDENTIALS and self.signed.renewed(used):
            answered = self._answer(method, read, given)
        if not isinstance(answered, Problem):
            if self.guard is not None:
                # A probe asks for less: that it is answered does not say that we ask seldom enough.
                self.throttle.answered(calls)
            return answered
        raise self._as_error(answered, calls)

    def _answer(self, method: str, read: Callable[[Any], R], given: dict[str, Any]) -> "R | Problem":
        operation = self.client.meta.method_to_api_mapping[method]
        try:
            with spans.calling(f"{self.name} {method}"):
                answer = getattr(self.client, method)(**given)
            if self.name == EC2:
                # In each of its answers. A page of a proxy has none, and says nothing of what was made or deleted.
                _ = answer["ResponseMetadata"]["RequestId"]
            return read(answer)
        except ClientError as error:
            return _answered(operation, error)
        except ParamValidationError as error:
            return Problem("not asked", f"{operation} was not asked: {_words(error)}")
        except NO_CREDENTIALS as error:
            return Problem("no credentials", f"AWS did not let us do {operation}: {type(error).__name__}")
        except (BotoCoreError, OSError) as error:
            return Problem(NO_ANSWER, f"AWS did not answer {operation}: {type(error).__name__}")
        except (ResponseParserError, LookupError, TypeError, ValueError, AttributeError) as error:
            return Problem(NO_ANSWER, f"AWS's answer to {operation} makes no sense: {type(error).__name__}")

    def _as_error(self, problem: "Problem", calls: Calls) -> Exception:
        """AWS's answer as one of our errors."""
        found = verdict(self.name, calls, problem.answer)
        if problem.answer in ZONE_FULL:
            return ZoneFullError(problem.text, after_s=ZONE_FULL_S)
        match found:
            case Verdict.PLACE:
                return NoPlaceError("QUOTA", problem.text)
            case Verdict.AGAIN:
                return TryAgainError(problem.text, after_s=WAITS_S.get(problem.answer))
            case Verdict.NEVER:
                return KNOWN.get(problem.answer, RefusedError)(problem.text)
        error = self._trouble(problem, calls)
        if self.guard is None or found is Verdict.HOLD:
            return error
        return self.guard.unanswered(error, surely=found is Verdict.OUT)

    def _trouble(self, problem: "Problem", calls: Calls) -> NotNowError:
        dependency = self.guard.dependency if self.guard else self.name
        if problem.answer in THROTTLED:
            after_s = self.throttle.pause_s(calls) if problem.after_s is None else problem.after_s
            return NotNowError(dependency, calls, UNREACHABLE, problem.text, after_s)
        if problem.answer in (NO_ANSWER, "5xx"):
            return NotNowError(dependency, calls, UNREACHABLE, problem.text, problem.after_s)
        return NotNowError(dependency, calls, REFUSES, f"the operator has to let this worker in: {problem.text}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What was answered instead of what was asked for: its name in the table of verdicts, and in words.

    `after_s` is how long AWS asked to be left alone, if it did.
    """

    answer: str
    text: str
    after_s: float | None = None


@contextmanager
def service(
    name: str, settings: Settings, breakers: Breakers | None, probe: Callable[[Service, Calls], None]
) -> Iterator[Service]:
    """A client of `ec2` or `s3`: endpoint, region and credentials come from AWS's own settings.

    `probe` asks about nobody, through a client that no breaker stops.

    Raises:
        FleetError: those can't be used; the message says what to set.
    """
    with signed(name, settings) as client:
        plain = Service(client, f"aws.{name}")
        guard = Guard(plain.name, breakers, lambda calls: probe(plain, calls))
        yield Service(client, plain.name, guard, plain.throttle)


def nothing(_: Any) -> None:
    """For `read`, where the answer holds nothing but success."""


def _answered(operation: str, error: ClientError) -> Problem:
    code = printable(error.response.get("Error", {}).get("Code"))[:100]
    about = error.response.get("ResponseMetadata", {})
    status, headers = about.get("HTTPStatusCode", 0), about.get("HTTPHeaders", {})
    after_s = retry_after_s(headers.get("retry-after"), headers.get("date"))
    if error.operation_name != operation:
        # An error of another operation than the one asked for is from getting credentials.
        return Problem("no credentials", f"AWS did not let us do {operation}: {code}")
    if not code:
        return Problem(NO_ANSWER, f"not AWS answered {operation}, but something else, with {status}", after_s)
    if code in CREDENTIALS or code in RIGHTS:
        return Problem(code, f"AWS did not let us do {operation}: {code}")
    if code in UNHEARD or (status >= 500 and code not in NAMED):
        return Problem("5xx", f"AWS answered {operation} with {code} ({status})", after_s)
    words = _words(error.response.get("Error", {}).get("Message"))
    return Problem(code, f"AWS answered {operation} with {code}: {words}", after_s)


def _words(said: object) -> str:
    return printable(said)[:300]
