"""Every setting of the program, read once at start from the environment."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pgfleet.schema.container import Image
from pgfleet.schema.database.dsn import Unreachable, as_libpq
from pgfleet.schema.errors import FleetError


class BadSettings(FleetError):
    """The environment holds a value that can't be used; the message names each variable."""


def _libpq(dsn: SecretStr) -> SecretStr:
    try:
        return SecretStr(as_libpq(dsn.get_secret_value()))
    except Unreachable as error:
        raise ValueError(str(error)) from None


def _proxy(url: SecretStr) -> SecretStr:
    address = urlsplit(url.get_secret_value())
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("must be the http(s) address of a proxy")
    return url


def _domain(name: str) -> str:
    name = name.lower().strip(".")
    # With the label of a reservation before it, a name may have 253 characters.
    if len(name) > 180 or not re.fullmatch(
        r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name
    ):
        raise ValueError("must be a domain, such as gpu.example.org")
    return name


# Whatever libpq takes: a URL, keywords and values, `service=...`; also SQLAlchemy's postgresql+psycopg://.
Dsn = Annotated[SecretStr, AfterValidator(_libpq)]
Seconds = Annotated[float, Field(gt=0)]
# As Kubernetes takes it, with a domain or without.
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"


def _listed(given: Any) -> Any:
    return [one.strip() for one in given.split(",")] if isinstance(given, str) else given


# In the environment: `30,15,5`.
Minutes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=10_000)], ...],
    NoDecode,
    BeforeValidator(_listed),
    Field(min_length=1, max_length=10),
]


def _reach(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(ip_network(one, strict=False)) if _is_range(one) else _host(one) for one in given)


def _is_range(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _host(name: str) -> str:
    name = name.lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
        raise ValueError("must be hosts, such as chat.example.org, and networks, such as 10.2.0.0/16")
    return name


# In the environment: `chat.example.org,10.2.0.0/16`.
Places = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_reach)]


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


class Settings(BaseSettings):
    """Times are seconds or hours, as the name's last word says. Defaults are those of SPEC section 4.

    The three database variables have no prefix, so that the program shares them with others;
    everything else is `PGFLEET_<NAME>`.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_prefix="PGFLEET_", extra="ignore", env_ignore_empty=True, validate_by_name=True
    )

    database_url: Dsn | None = Field(None, validation_alias="DATABASE_URL")
    # Given where DATABASE_URL leads to a transaction pooler: LISTEN and migrations go here.
    database_direct_url: Dsn | None = Field(None, validation_alias="DATABASE_DIRECT_URL")

    lease_s: Seconds = 90
    # A worker that is asked to end has so long to finish or give back what it has in hand, whatever hangs.
    drain_s: Seconds = 30
    poll_s: Annotated[float, Field(gt=0, le=2)] = 2
    attempts: Annotated[int, Field(ge=1)] = 3
    backoff_s: Seconds = 5
    backoff_cap_s: Seconds = 60
    statement_timeout_s: Seconds = 30
    # Of several processes of one worker the first has this port, and each of the others the one after; 0 for none.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    # The address that it is open at: nobody but this machine, unless it is set.
    metrics_host: str = "127.0.0.1"
    effect_threads: Annotated[int, Field(ge=1, le=64)] = 16

    kubeconfig: str | None = None
    namespace: str = "gpu-dev"
    kubernetes_timeout_s: Seconds = 10
    # A YAML file with a part of a pod that every reservation's pod has: tolerations, pull secrets and the like.
    pod_template: str | None = None
    priority_class: str | None = None
    pod_image: Image = "ghcr.io/pgfleet/gpu-dev:latest"
    # A label of nodes: all pods of a gang go to nodes with the same value of it, as their network is fast among them.
    gang_topology_key: Annotated[str, StringConstraints(pattern=LABEL_KEY)] | None = None
    ssh_keys_url: str = "https://github.com/{user}.keys"
    # The only way to that server where there is none from here; the environment's HTTPS_PROXY is not asked.
    ssh_keys_proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = None
    ssh_keys_timeout_s: Seconds = 10

    # Endpoint, region and credentials of AWS come from AWS's own variables, such as AWS_REGION.
    aws_timeout_s: Seconds = 20
    # The S3 bucket for the listings of disks' contents; without one, they are not kept.
    contents_bucket: str | None = None

    # Reservations have names in this domain, for those who write its DNS and its load balancers; without one, none.
    domain: Annotated[str, AfterValidator(_domain)] | None = None

    default_hours: Annotated[float, Field(gt=0)] = 8
    max_hours: Annotated[float, Field(gt=0)] = 72
    max_total_hours: Annotated[float, Field(gt=0)] = 168
    unknown_row_s: Seconds = 30
    line_recheck_s: Seconds = 60
    pod_poll_s: Seconds = 2
    # From a pod's first place on a node until it runs, its image is pulled; from then on, SSH has to answer.
    image_pull_s: Seconds = 1800
    pod_ready_s: Seconds = 600
    # What may heal by itself is given so long: a container that can't be made, an image that a registry does not know.
    may_heal_s: Seconds = 300
    preparing_stuck_s: Seconds = 3600
    queued_stale_s: Seconds = 48 * 3600
    unschedulable_s: Seconds = 30
    watch_s: Seconds = 60
    pod_missing_grace_s: Seconds = 600
    # An active reservation's node that does not answer; Kubernetes itself gives up its pods after 5 minutes.
    node_silent_s: Seconds = 300
    # Who has a reservation is warned so many minutes before it expires.
    warnings_min: Minutes = (30, 15, 5)
    expiry_grace_s: Annotated[float, Field(ge=0)] = 120
    # Where it is to end when nobody uses it: how often its GPUs are looked at, and the warning before the end.
    idle_poll_s: Seconds = 300
    idle_notice_s: Seconds = 900
    teardown_poll_s: Seconds = 2

    volume_poll_s: Seconds = 5
    snapshot_poll_s: Seconds = 30
    # A deleted disk can be brought back for so long.
    disk_kept_s: Seconds = 30 * 24 * 3600
    # Of each disk the newest snapshots are kept, and all that are younger than this.
    snapshots_kept: Annotated[int, Field(ge=1)] = 3
    snapshot_kept_s: Seconds = 7 * 24 * 3600

    node_offline_s: Seconds = 300
    cluster_offline_intervals: Annotated[float, Field(gt=0)] = 3
    mass_outage_share: Annotated[float, Field(gt=0, le=1)] = 0.55

    hopsworks_timeout_s: Seconds = 15
    # The OAuth client that accounts are made for; a cluster's metadata may name another one (`client_id`).
    hopsworks_client_id: str = "pgfleet"
    # What does not answer is left alone for a second, then probed; then longer each time, at most so long.
    breaker_open_s: Seconds = 30
    seat_recheck_s: Seconds = 60
    owner_wait_s: Seconds = 24 * 3600
    # Whether a team member may go to another cluster where the owner's is full.
    members_overflow: bool = False
    account_check_s: Seconds = 3600
    # What a user may owe before a charge is written.
    charge_at: Annotated[Decimal, Field(gt=0)] = Decimal(50)

    # Where events may be sent besides public addresses: hosts and networks of the fleet's own. There by http, too.
    events_may_reach: Places = ()

    # Keys of the HTTP API: how long one lasts that nobody says it of, and the longest that anybody may ask for.
    key_hours: Annotated[float, Field(gt=0, le=365 * 24)] = 2
    key_max_hours: Annotated[float, Field(gt=0, le=365 * 24)] = 365 * 24

    @property
    def pooled(self) -> bool:
        """Whether DATABASE_URL is a transaction pooler: no prepared statements, no LISTEN there."""
        return self.database_direct_url is not None and self.database_direct_url != self.database_url

    def dsn(self) -> str:
        if self.database_url is None:
            raise BadSettings(
                "DATABASE_URL is not set. Point it at a PostgreSQL server, or use the embedded one:\n"
                '  export DATABASE_URL="$(pgfleet db url)"'
            )
        return self.database_url.get_secret_value()

    def direct_dsn(self) -> str:
        direct = self.database_direct_url
        return direct.get_secret_value() if direct is not None else self.dsn()

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_s)


def read_settings(**given: Any) -> Settings:
    """The settings of this process.

    Raises:
        BadSettings: some value can't be used; the message names every variable and what is wrong.
    """
    return read_as(Settings, **given)


def read_as(settings: type[AnySettings], **given: Any) -> AnySettings:
    """Settings of one sort, as `read_settings` reads those of all programs."""
    try:
        return settings(**given)
    except ValidationError as error:
        lines = [
            # What is wrong with several together names them in its text.
            f"  {_variable(e['loc']) + ': ' if e['loc'] else ''}{e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_input=False)
        ]
        raise BadSettings("These settings can't be used:\n" + "\n".join(lines)) from None


# Variables of ours that are read elsewhere.
_READ_ELSEWHERE = {
    "PGFLEET_CONFIG",
    "PGFLEET_USER",
    # Of commands that use the HTTP API (`console/remote/`).
    "PGFLEET_ALLOW_HTTP",
    "PGFLEET_KEY",
    "PGFLEET_URL",
    "PGFLEET_DATA_DIR",
    "PGFLEET_LOG_LEVEL",
    "PGFLEET_HOPSWORKS_KEY",
    "PGFLEET_NODE_KEY",
    # Of the HTTP API (`producers/http/settings.py`).
    "PGFLEET_BODY_TIMEOUT_S",
    "PGFLEET_HEARTBEAT_DEADLINE_S",
    "PGFLEET_HEARTBEAT_WINDOW_S",
    "PGFLEET_OIDC_ALLOW_HTTP",
    "PGFLEET_OIDC_AUDIENCE",
    "PGFLEET_OIDC_CLIENT_ID",
    "PGFLEET_OIDC_CLIENT_SECRET",
    "PGFLEET_OIDC_ISSUERS",
    "PGFLEET_OIDC_LINK_ISSUER",
    "PGFLEET_OIDC_ROLE_CLAIM",
    "PGFLEET_OIDC_SIGN_IN_ISSUER",
    "PGFLEET_OIDC_USERNAME_CLAIM",
    "PGFLEET_PUBLIC_URL",
    "PGFLEET_QUEUE_MOST_WAITING",
    "PGFLEET_QUEUE_OLDEST_S",
    "PGFLEET_REQUESTS_BURST",
    "PGFLEET_REQUESTS_PER_S",
    "PGFLEET_SERVE_THREADS",
    "PGFLEET_SERVE_TIMEOUT_S",
    "PGFLEET_SESSION_HOURS",
    "PGFLEET_STRANGERS_BURST",
    "PGFLEET_STRANGERS_PER_S",
    "PGFLEET_TRUSTED_PROXIES",
}
# How alike two names are of which one is a typo. A service's links in Kubernetes (PGFLEET_SERVICE_HOST) are less so.
_ALIKE = 0.8


def misspelt(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that nobody reads and that look like one of ours, each with the one that was meant."""
    known = {_variable((name,)) for name in Settings.model_fields} | _READ_ELSEWHERE
    unknown = sorted(name for name in environment if name.startswith(("PGFLEET_", "DATABASE_")) and name not in known)
    ends = {name.removeprefix("PGFLEET_"): name for name in known}
    near = {name: get_close_matches(name.removeprefix("PGFLEET_"), ends, 1, _ALIKE) for name in unknown}
    return {name: ends[found[0]] for name, found in near.items() if found}


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]).upper()
    return name if name.startswith("DATABASE_") else f"PGFLEET_{name}"
