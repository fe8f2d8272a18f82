"""AWS's standard settings and credentials, and the boto3 client that has them.

boto3 reads a file of credentials once. Those that AWS does not take any more, and those that were not there, are looked
for again; what runs out by itself (of a role, say) botocore fetches anew.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore import session as core  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.credentials import RefreshableCredentials  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
from botocore.utils import parse_timestamp  # type: ignore[import-untyped]

from pgfleet.schema.errors import FleetError
from pgfleet.schema.printable import printable
from pgfleet.schema.settings import Settings

# After a look that found no others: where there are none, a look may ask the machine for those of its role.
LOOK_AGAIN_S = 5.0


class Signed:
    """A boto3 client of one service, which the threads of a process share."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._name, self._settings = name, settings
        self._lock = threading.Lock()
        self._again_at = 0.0
        session = _session(settings)
        self.client = _client(session, name, settings)
        # As the client has them: a session without any would look again.
        self._credentials = session.get_credentials()

    def renewed(self, refused: Any) -> bool:
        """After AWS has not taken the credentials of the client `refused`: whether there are others."""
        with self._lock:
            if self.client is refused and time.monotonic() >= self._again_at:
                self._again_at = time.monotonic() + LOOK_AGAIN_S
                self._look()
            return self.client is not refused

    def _look(self) -> None:
        try:
            session = _session(self._settings)
            found = session.get_credentials()
            if _differ(self._credentials, found):
                self._credentials, self.client = found, _client(session, self._name, self._settings)
        except (FleetError, BotoCoreError, OSError):
            # A file that is half written, say: the next look reads it again.
            return


def _differ(before: Any, now: Any) -> bool:
    if now is None or isinstance(before, RefreshableCredentials):
        return False
    return before is None or before.get_frozen_credentials() != now.get_frozen_credentials()


@contextmanager
def signed(name: str, settings: Settings) -> Iterator[Signed]:
    """A client of `ec2` or `s3`. Raises FleetError where AWS's own settings can't be used."""
    found = Signed(name, settings)
    try:
        yield found
    finally:
        found.client.close()


def _session(settings: Settings) -> boto3.Session:
    """What AWS's own settings say now."""
    try:
        session = core.get_session()
        session.register_component("data_loader", _descriptions())
        # Requests for credentials (by a web identity's token, say) have the same timeouts.
        session.set_default_client_config(_config(settings))
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
        # AWS's other programs read AWS_REGION; boto3 reads only AWS_DEFAULT_REGION and the profile.
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        if not region:
            raise FleetError("No AWS region to work in: set AWS_REGION, such as us-east-2.")
        bundle = session.get_config_variable("ca_bundle")
        if bundle and not os.access(bundle, os.R_OK):
            raise FleetError(f"AWS's settings can't be used: the certificates of AWS_CA_BUNDLE can't be read: {bundle}")
        return boto3.Session(botocore_session=session, region_name=region)
    except (BotoCoreError, ValueError) as error:
        problem = _unusable(error)
    raise problem


def _descriptions() -> Any:
    """What botocore knows of AWS's services: megabytes of JSON, read once a process and not for each session."""
    loader = _loader()
    # Each session adds a place to look in, the same one.
    loader.search_paths[:] = dict.fromkeys(loader.search_paths)
    return loader


@cache
def _loader() -> Any:
    return core.get_session().get_component("data_loader")


def _client(session: boto3.Session, name: str, settings: Settings) -> Any:
    try:
        return session.client(name, config=_config(settings))
    except (BotoCoreError, ValueError) as error:
        problem = _unusable(error)
    raise problem


def _unusable(error: Exception) -> FleetError:
    return FleetError(
        f"AWS's settings can't be used: {printable(error)[:300]}\n"
        "See AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL and the files under ~/.aws."
    )


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
