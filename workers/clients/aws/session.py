"""How this program talks to AWS: the standard settings and credentials, one try a call, errors by their code.

| what went wrong                            | error                          | its text                            |
|--------------------------------------------|--------------------------------|-------------------------------------|
| throttling, a limit, not ready yet, in use | TryAgainError with `after_s`   | AWS's words                         |
| credentials, permissions                   | TryAgainError with `after_s`   | operation and code: texts quote keys |
| 5xx, no answer, half an answer             | TryAgainError                  | operation and code or exception     |
| a volume or snapshot is not there          | VolumeGoneError, SnapshotGoneError | AWS's words                     |
| any other answer                           | RefusedError                   | AWS's words                         |

botocore's errors are never chained: they carry requests and answers.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import boto3  # type: ignore[import-untyped]
from botocore import session as core  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
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
from botocore.utils import parse_timestamp  # type: ignore[import-untyped]

from pgfleet.schema.errors import FleetError
from pgfleet.schema.printable import printable
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.outcomes import RefusedError, TryAgainError

# Seconds until asking again makes sense.
THROTTLED_S = 5.0
CHANGING_S = 5.0
IN_USE_S = 30.0
LIMIT_S = 60.0
CREDENTIALS_S = 60.0

WAITS_S = {
    **dict.fromkeys(
        (
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
        ),
        THROTTLED_S,
    ),
    # A volume that is still being made, a snapshot that is pending.
    "IncorrectState": CHANGING_S,
    "VolumeInUse": IN_USE_S,
    **dict.fromkeys(
        (
            "ConcurrentSnapshotLimitExceeded",
            "InsufficientVolumeCapacity",
            "InvalidSnapshot.InUse",
            "MaxIOPSLimitExceeded",
            "PendingSnapshotLimitExceeded",
            "ResourceLimitExceeded",
            "SnapshotCreationPerVolumeRateExceeded",
            "SnapshotLimitExceeded",
            "VolumeLimitExceeded",
        ),
        LIMIT_S,
    ),
}
CREDENTIALS = frozenset(
    {
        # S3 without a body.
        "403",
        "AccessDenied",
        "AccessDeniedException",
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
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
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
ZONE_FULL = "InsufficientVolumeCapacity"
# S3 says this with status 400: the body did not arrive in time.
UNHEARD = frozenset({"RequestTimeout", "RequestTimeoutException"})

R = TypeVar("R")


class VolumeGoneError(RefusedError):
    """AWS says that there is no such volume."""


class SnapshotGoneError(RefusedError):
    """AWS says that there is no such snapshot."""


class ZoneFullError(TryAgainError):
    """AWS has no room for a volume in this zone now; another zone may have some."""


class BucketGoneError(RefusedError):
    """AWS says that there is no such bucket."""


GONE: dict[str, type[RefusedError]] = {
    "InvalidVolume.NotFound": VolumeGoneError,
    "InvalidSnapshot.NotFound": SnapshotGoneError,
    "NoSuchBucket": BucketGoneError,
}


@dataclass(frozen=True, slots=True)
class Service:
    """A boto3 client, which the threads of a process share. No call takes longer than the settings allow."""

    client: Any

    def ask(self, method: str, read: Callable[[Any], R], **given: Any) -> R:
        """What `read` makes of the answer.

        Raises:
            TryAgainError: AWS could not answer now, or wants us to wait, or does not know us.
            RefusedError: AWS has answered, and it is no.
        """
        operation = self.client.meta.method_to_api_mapping[method]
        try:
            return read(getattr(self.client, method)(**given))
        except ClientError as error:
            problem = _as_error(operation, error)
        except ParamValidationError as error:
            problem = RefusedError(f"{operation} was not asked: {_words(error)}")
        except NO_CREDENTIALS as error:
            problem = _unknown_to_aws(operation, type(error).__name__)
        except (BotoCoreError, OSError) as error:
            problem = TryAgainError(f"AWS did not answer {operation}: {type(error).__name__}")
        except (ResponseParserError, LookupError, TypeError, ValueError, AttributeError) as error:
            problem = TryAgainError(f"AWS's answer to {operation} makes no sense: {type(error).__name__}")
        raise problem


@contextmanager
def service(name: str, settings: Settings) -> Iterator[Service]:
    """A client of `ec2` or `s3`: endpoint, region and credentials come from AWS's own settings.

    Raises:
        FleetError: those can't be used; the message says what to set.
    """
    client = _client(name, settings)
    try:
        yield Service(client)
    finally:
        client.close()


def nothing(_: Any) -> None:
    """For `read`, where the answer holds nothing but success."""


def _client(name: str, settings: Settings) -> Any:
    config = _config(settings)
    try:
        session = core.get_session()
        # Requests for credentials (by a web identity's token, say) have the same timeouts.
        session.set_default_client_config(config)
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
        # AWS's other programs read AWS_REGION; boto3 reads only AWS_DEFAULT_REGION and the profile.
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        if not region:
            raise FleetError("No AWS region to work in: set AWS_REGION, such as us-east-2.")
        return boto3.Session(botocore_session=session, region_name=region).client(name, config=config)
    except (BotoCoreError, ValueError) as error:
        problem = FleetError(
            f"AWS's settings can't be used: {_words(error)}\n"
            "See AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL and the files under ~/.aws."
        )
    raise problem


def _time(said: Any) -> datetime:
    """A time of an answer, in UTC. botocore's own way takes most of the time of a listing."""
    try:
        at = datetime.fromisoformat(said)
    except (ValueError, TypeError):
        at = parse_timestamp(said)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _config(settings: Settings) -> Config:
    """One try: the queue tries again. A call ends after about 1.25 times `aws_timeout_s`."""
    return Config(
        connect_timeout=settings.aws_timeout_s / 4,
        read_timeout=settings.aws_timeout_s,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=settings.effect_threads,
        user_agent_extra="pgfleet",
    )


def _as_error(operation: str, error: ClientError) -> RefusedError | TryAgainError:
    """AWS's answer as one of our errors."""
    code = printable(error.response.get("Error", {}).get("Code"))[:100] or "no code"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in CREDENTIALS or error.operation_name != operation:
        # An error of another operation than the one asked for is from getting credentials.
        return _unknown_to_aws(operation, code)
    text = f"AWS answered {operation} with {code}: {_words(error.response.get('Error', {}).get('Message'))}"
    if code in WAITS_S:
        kind = ZoneFullError if code == ZONE_FULL else TryAgainError
        return kind(text, after_s=WAITS_S[code])
    if code in GONE:
        return GONE[code](text)
    if status >= 500 or code in UNHEARD:
        return TryAgainError(f"AWS answered {operation} with {code} ({status})")
    return RefusedError(text)


def _unknown_to_aws(operation: str, code: str) -> TryAgainError:
    return TryAgainError(f"AWS did not let us do {operation}: {code}", after_s=CREDENTIALS_S)


def _words(said: object) -> str:
    return printable(said)[:300]
