"""Whose trouble an answer is: one table for everything that is called outside.

| verdict   | whose trouble                                         | what becomes of the row                     |
|-----------|-------------------------------------------------------|---------------------------------------------|
| NEVER     | the row's, for good                                   | it is given up                              |
| AGAIN     | the row's, maybe not for long                         | a failed attempt                            |
| PLACE     | nobody's: there is no place for this row now          | it goes back to its line; others are tried  |
| HOLD      | not the row's; nothing is known of others             | it waits; no attempt counts                 |
| OUT       | the dependency's, which says so itself                | it waits; the breaker opens                 |
| ASK       | the dependency's if nobody is answered better,        | it waits; the breaker opens                 |
|           | else as HOLD                                          |                                             |
| ASK_ROW   | the same, else as NEVER                               | the same                                    |
| ASK_MAYBE | the same, else as AGAIN                               | the same                                    |
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from pgfleet.workers.runtime.outcomes import Calls


class Verdict(Enum):
    NEVER = auto()
    AGAIN = auto()
    PLACE = auto()
    HOLD = auto()
    OUT = auto()
    ASK = auto()
    ASK_ROW = auto()
    ASK_MAYBE = auto()


@dataclass(frozen=True, slots=True)
class Line:
    """Answers of a dependency to some calls: an HTTP status, `4xx`, `5xx`, or what the client calls it."""

    dependency: str
    answers: Collection[str]
    verdict: Verdict
    calls: Collection[Calls] = tuple(Calls)


NO_ANSWER = "no answer"
NO_SENSE = "no sense"
QUOTA = "quota"
EXISTS = "exists"
NO_DRY_RUN = "no dry run"
NO_PROBE = "no probe"
REFUSED = "4xx"
READ, MAKE, DELETE = Calls.READ, Calls.MAKE, Calls.DELETE

KUBERNETES = "kubernetes"
SSH_KEYS = "ssh_keys"
EC2 = "aws.ec2"
S3 = "aws.s3"
# Each cluster is a dependency of its own: hopsworks:<id>.
HOPSWORKS = "hopsworks"

# AWS's words, by their sense.
THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    }
)
# What is asked about is about to change: a volume that is being made, or tagged just now, a snapshot that is pending.
CHANGING = frozenset({"ConcurrentTagAccess", "IncorrectState", "VolumeInUse", "InvalidSnapshot.InUse"})
LIMITS = frozenset(
    {
        "ConcurrentSnapshotLimitExceeded",
        "InsufficientVolumeCapacity",
        "MaxIOPSLimitExceeded",
        "PendingSnapshotLimitExceeded",
        "ResourceLimitExceeded",
        "SnapshotCreationPerVolumeRateExceeded",
        "SnapshotLimitExceeded",
        "VolumeLimitExceeded",
        "VolumeTypeNotAvailableInZone",
    }
)
# S3 says 403 without a body.
RIGHTS = frozenset({"403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
CREDENTIALS = frozenset(
    {
        "no credentials",
        "AuthFailure",
        "Blocked",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "NotSignedUp",
        "OptInRequired",
        "PendingVerification",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
# S3 says with status 400 that the body did not arrive in time.
UNHEARD = frozenset({"5xx", NO_ANSWER, "RequestTimeout", "RequestTimeoutException"})
NAMED = THROTTLED | CHANGING | LIMITS | RIGHTS | CREDENTIALS
AWS = (EC2, S3)
# Whose other answers are about what was asked, for good.
REFUSING = (*AWS, HOPSWORKS)


# The first line that fits counts. An answer of AWS or Hopsworks that is in none of them is NEVER.
LINES: tuple[Line, ...] = (
    Line(KUBERNETES, {"401", "408", "429"}, Verdict.OUT),
    # What makes no sense is the page of a proxy.
    Line(KUBERNETES, {NO_ANSWER, NO_SENSE, "5xx"}, Verdict.ASK),
    Line(KUBERNETES, {QUOTA}, Verdict.PLACE, {MAKE}),
    # A webhook with side effects: nothing is known of what it would say.
    Line(KUBERNETES, {NO_DRY_RUN}, Verdict.NEVER, {MAKE}),
    # A volume, a secret: of what only the program writes, and nobody is asked about.
    Line(KUBERNETES, {NO_PROBE}, Verdict.HOLD, {MAKE}),
    Line(KUBERNETES, {EXISTS}, Verdict.AGAIN, {MAKE}),
    # Somebody else has changed something meanwhile, or a webhook says no with this status.
    Line(KUBERNETES, {"409"}, Verdict.ASK_MAYBE, {MAKE}),
    # Somebody else has changed it meanwhile; a list is too old to go on with.
    Line(KUBERNETES, {"409"}, Verdict.AGAIN, {DELETE}),
    Line(KUBERNETES, {"410"}, Verdict.AGAIN, {READ}),
    # A right that is missing (403), a policy (403, 422), a webhook that says no (with any: 400 where it names none), a
    # namespace that is not there (404); or what is to be made can't be.
    Line(KUBERNETES, {REFUSED}, Verdict.ASK_ROW, {MAKE}),
    Line(KUBERNETES, {"403"}, Verdict.ASK, {DELETE}),
    Line(KUBERNETES, {"403"}, Verdict.HOLD, {READ}),
    Line(KUBERNETES, {"400", "404", "405", "413", "415", "422"}, Verdict.NEVER),
    # None that Kubernetes gives to these calls: somebody between us does.
    Line(KUBERNETES, {REFUSED}, Verdict.ASK),
    # GitHub answers 403 to whoever asks too often.
    Line(SSH_KEYS, {"401", "403", "408", "429"}, Verdict.OUT),
    # A page of a proxy, say.
    Line(SSH_KEYS, {NO_ANSWER, NO_SENSE, "5xx"}, Verdict.ASK),
    # No such user; or a proxy, or an address that is wrong, that knows nobody at all.
    Line(SSH_KEYS, {"404"}, Verdict.ASK_ROW),
    # Says nothing of who was asked for: a proxy, say, or an address that is wrong.
    Line(SSH_KEYS, {REFUSED}, Verdict.ASK),
    Line(HOPSWORKS, {"401", "403"}, Verdict.OUT, {READ}),
    # A key that may look up, but not do this.
    Line(HOPSWORKS, {"401", "403"}, Verdict.ASK, {MAKE}),
    Line(HOPSWORKS, {"429"}, Verdict.OUT),
    # A redirect, a proxy's page, what can't be read.
    Line(HOPSWORKS, {NO_ANSWER, NO_SENSE, "408", "5xx"}, Verdict.ASK),
    *(
        line
        for service in AWS
        for line in (
            Line(service, CREDENTIALS, Verdict.OUT),
            Line(service, THROTTLED, Verdict.OUT),
            Line(service, UNHEARD, Verdict.ASK),
            Line(service, RIGHTS, Verdict.HOLD, {READ}),
            Line(service, RIGHTS, Verdict.ASK, {MAKE, DELETE}),
            Line(service, LIMITS, Verdict.PLACE),
            Line(service, CHANGING, Verdict.AGAIN),
        )
    ),
)


def verdict(dependency: str, calls: Calls, answer: str) -> Verdict:
    """Whose trouble an answer is."""
    names = {answer, REFUSED} if answer.isdecimal() and 400 <= int(answer) < 500 else {answer}
    fits = (line for line in LINES if line.dependency == dependency and calls in line.calls and names & {*line.answers})
    return next((line.verdict for line in fits), Verdict.NEVER if dependency in REFUSING else Verdict.AGAIN)


def status_class(status: int) -> str:
    """How the table names an HTTP status."""
    return "5xx" if status >= 500 else str(status)
