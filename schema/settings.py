"""Every setting of the program, read once at start from the environment."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pgfleet.schema.container import Image
from pgfleet.schema.environment.fleet import a_fleet
from pgfleet.schema.environment.values import LABEL_KEY, Dsn, Minutes, Places, Seconds, a_domain, a_proxy
from pgfleet.schema.errors import FleetError


class BadSettings(FleetError):
    """The environment holds a value that can't be used; the message names each variable."""


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


class Settings(BaseSettings):
    """Times are seconds or hours, as the name's last word says. Defaults are those of SPEC section 4.

    The database's variables have no prefix, so that the program shares them with others; everything else is
    `PGFLEET_<NAME>`. The comment above each is what it is for in `deploy/SETTINGS.md`.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_prefix="PGFLEET_", extra="ignore", env_ignore_empty=True, validate_by_name=True
    )

    # The PostgreSQL: whatever libpq takes, also several hosts. A pooler of transactions may stand before it.
    database_url: Dsn | None = Field(None, validation_alias="DATABASE_URL")
    # Past the pooler, where DATABASE_URL leads to one: LISTEN and migrations go here.
    database_direct_url: Dsn | None = Field(None, validation_alias="DATABASE_DIRECT_URL")

    # A claimed message is its worker's for so long, and longer while the worker renews it. Then it runs again.
    lease_s: Seconds = 90
    # A worker that is asked to end has so long to finish or give back what it has in hand, whatever hangs.
    drain_s: Seconds = 30
    # How often queues are looked at, beside being woken.
    poll_s: Annotated[float, Field(gt=0, le=2)] = 2
    # A message that has failed so often is a dead letter.
    attempts: Annotated[int, Field(ge=1)] = 3
    # The pause before the second try; it doubles with each one.
    backoff_s: Seconds = 5
    # The longest pause between two tries.
    backoff_cap_s: Seconds = 60
    # A statement that takes longer is ended by the server; what does not answer 10 s later is given up.
    statement_timeout_s: Seconds = 30
    # The port of metrics and probes; 0 for none. Each further process of one worker has the port after the one before.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    # The address that this port is open at: nobody but this machine, unless it is set.
    metrics_host: str = "127.0.0.1"
    # Calls to the outside that one worker makes at a time.
    effect_threads: Annotated[int, Field(ge=1, le=64)] = 16

    # The name of this fleet, where several share an account of AWS or a cluster of Kubernetes: all that it makes there
    # has it. Each has a database of its own, and one of them may go without a name. It stays while anything is there.
    fleet: Annotated[str, AfterValidator(a_fleet)] = ""
    # The kubeconfig of the cluster; without one, the account of the pod that the worker is in.
    kubeconfig: str | None = None
    # The namespace that the pods of reservations are in.
    namespace: str = "gpu-dev"
    # A request to Kubernetes is given up after so long.
    kubernetes_timeout_s: Seconds = 10
    # A YAML file with a part of a pod that every reservation's pod has: tolerations, pull secrets and the like.
    pod_template: str | None = None
    # The PriorityClass of the pods of reservations.
    priority_class: str | None = None
    # The image of a reservation that names none.
    pod_image: Image = "ghcr.io/pgfleet/gpu-dev:latest"
    # A label of nodes: all pods of a gang go to nodes with the same value of it, as their network is fast among them.
    gang_topology_key: Annotated[str, StringConstraints(pattern=LABEL_KEY)] | None = None
    # Where the SSH keys of a GitHub user are.
    ssh_keys_url: str = "https://github.com/{user}.keys"
    # The only way to that server where there is none from here; the environment's HTTPS_PROXY is not asked.
    ssh_keys_proxy: Annotated[SecretStr, AfterValidator(a_proxy)] | None = None
    # That server is given up after so long.
    ssh_keys_timeout_s: Seconds = 10

    # A request to AWS is given up after so long. Region, endpoint and credentials are in variables of AWS's own.
    aws_timeout_s: Seconds = 20
    # The S3 bucket for the listings of disks' contents; without one, they are not kept.
    contents_bucket: str | None = None

    # Reservations have names in this domain, for those who write its DNS and its load balancers; without one, none.
    domain: Annotated[str, AfterValidator(a_domain)] | None = None

    # A reservation that says nothing of it lasts so long.
    default_hours: Annotated[float, Field(gt=0)] = 8
    # The longest reservation that is taken.
    max_hours: Annotated[float, Field(gt=0)] = 72
    # The longest that one may last with its extensions.
    max_total_hours: Annotated[float, Field(gt=0)] = 168
    # A message about a row that is not there waits so long for it.
    unknown_row_s: Seconds = 30
    # A line whose head can't start is looked at so often, beside being woken.
    line_recheck_s: Seconds = 60
    # How often a pod that starts is looked at.
    pod_poll_s: Seconds = 2
    # A pod on its node has so long to pull its image and run.
    image_pull_s: Seconds = 1800
    # A pod that runs has so long to answer by SSH.
    pod_ready_s: Seconds = 600
    # What may heal by itself is given so long: a container that can't be made, an image that a registry does not know.
    may_heal_s: Seconds = 300
    # A reservation that is prepared for longer has failed.
    preparing_stuck_s: Seconds = 3600
    # Who has waited for GPUs for so long is cancelled.
    queued_stale_s: Seconds = 48 * 3600
    # A pod for which there is no node for so long goes, and its reservation back to the line.
    unschedulable_s: Seconds = 30
    # How often the pod of an active reservation is looked at, beside being watched.
    watch_s: Seconds = 60
    # In its first minutes a reservation is not given up because its pod is missing from a listing.
    pod_missing_grace_s: Seconds = 600
    # A node that is silent or not ready for so long has lost its pods.
    node_silent_s: Seconds = 300
    # Who has a reservation is warned so many minutes before it expires.
    warnings_min: Minutes = (30, 15, 5)
    # A reservation goes on for so long after its end is due.
    expiry_grace_s: Annotated[float, Field(ge=0)] = 120
    # How often GPUs are looked at of a reservation that ends when nobody uses it.
    idle_poll_s: Seconds = 300
    # Its user is warned so long before it ends for being idle.
    idle_notice_s: Seconds = 900
    # How often a pod that ends is looked at.
    teardown_poll_s: Seconds = 2

    # How often a volume that is made or detached is looked at.
    volume_poll_s: Seconds = 5
    # How often a snapshot that is made is looked at.
    snapshot_poll_s: Seconds = 30
    # A deleted disk can be brought back for so long.
    disk_kept_s: Seconds = 30 * 24 * 3600
    # So many of a disk's newest snapshots are kept, however old.
    snapshots_kept: Annotated[int, Field(ge=1)] = 3
    # All snapshots that are younger are kept, too.
    snapshot_kept_s: Seconds = 7 * 24 * 3600

    # A node of the autoscaler that is silent for so long is OFFLINE.
    node_offline_s: Seconds = 300
    # A node of a cluster is offline after so many of its health check intervals without a heartbeat.
    cluster_offline_intervals: Annotated[float, Field(gt=0)] = 3
    # When more than this share of the nodes would go at once, none does: something else is out.
    mass_outage_share: Annotated[float, Field(gt=0, le=1)] = 0.55

    # A request to a Hopsworks is given up after so long.
    hopsworks_timeout_s: Seconds = 15
    # The OAuth client that accounts are made for; a cluster's metadata may name another one (`client_id`).
    hopsworks_client_id: str = "pgfleet"
    # What does not answer is left alone for a second, then probed; then longer each time, at most so long.
    breaker_open_s: Seconds = 30
    # How often those who wait for a seat are looked at, beside being woken.
    seat_recheck_s: Seconds = 60
    # A team member waits so long for the owner to have a cluster.
    owner_wait_s: Seconds = 24 * 3600
    # Whether a team member may go to another cluster where the owner's is full.
    members_overflow: bool = False
    # How often each account at a Hopsworks is compared with its row.
    account_check_s: Seconds = 3600
    # What a user may owe, in the currency of the rates, before a charge is written.
    charge_at: Annotated[Decimal, Field(gt=0)] = Decimal(50)

    # Where events may be sent besides public addresses: hosts and networks of the fleet's own. There by http, too.
    events_may_reach: Places = ()

    # A key of the HTTP API lasts so long, unless its maker says.
    key_hours: Annotated[float, Field(gt=0, le=365 * 24)] = 2
    # The longest that anybody may ask for a key.
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
            f"  {variable(str(e['loc'][0])) + ': ' if e['loc'] else ''}{e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_input=False)
        ]
        raise BadSettings("These settings can't be used:\n" + "\n".join(lines)) from None


def variable(field: str) -> str:
    """The variable of the environment that a setting is read from."""
    name = field.upper()
    return name if name.startswith("DATABASE_") else f"PGFLEET_{name}"
