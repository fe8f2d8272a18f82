"""Reservations: their states, and the messages of the queue `gpu_reservations`.

The moves between the states are in `011_reservation_machine.sql`, where the database enforces them; the steps that
make them are in `workers/reservation/machine.py`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pgfleet.schema.disk import DiskName, SizeGb
from pgfleet.schema.messages import Hours, Message, Name, Sweep, Time, Uuid, by_action, read_message
from pgfleet.schema.tickets import Tickets

QUEUE = "gpu_reservations"
MACHINE = "reservation"
TICKETS = Tickets(MACHINE, "advance", "reservation_id", QUEUE)


class Status(StrEnum):
    """Who moves a reservation on from each state."""

    PENDING = "pending"  # the line of its GPU type
    QUEUED = "queued"  # the line again, when GPUs are freed; or time, after 48 h
    PREPARING = "preparing"  # the pod: ready, not schedulable, or not able to start
    ACTIVE = "active"  # time, the user, or the loss of the pod
    EXPIRED = "expired"  # nobody: only teardown is left
    CANCELLED = "cancelled"  # nobody: only teardown is left
    FAILED = "failed"  # nobody, unless an operator replays its dead letter


WAITING = frozenset({Status.PENDING, Status.QUEUED})
FINAL = frozenset({Status.EXPIRED, Status.CANCELLED, Status.FAILED})
# Seed 003 says `running`; a reader may say either.
ALIASES = {"running": Status.ACTIVE}

GPU_COUNTS = (1, 2, 4, 8, 16)


def _gpu_count(count: int) -> int:
    if count not in (0, *GPU_COUNTS):
        raise ValueError(f"must be 1, 2, 4, 8 or 16, or 0 for a cpu type; not {count}")
    return count


def _environment(given: dict[str, str]) -> dict[str, str]:
    for name in given:
        if not (name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()):
            raise ValueError("names must be letters, digits and underscores, and not start with a digit")
    if sum(len(name) + len(value) for name, value in given.items()) > 65_536:
        raise ValueError("must not hold more than 64 KiB")
    return given


GpuCount = Annotated[int, AfterValidator(_gpu_count), Field(json_schema_extra={"enum": [0, *GPU_COUNTS]})]
GithubUser = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}$")]
GpuType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,49}$")]
Image = Annotated[str, StringConstraints(pattern=r"^[^\s]{1,512}$")]
Environment = Annotated[dict[str, str], AfterValidator(_environment)]
# The longest that SPEC allows; the worker's settings may allow less.
HOURS_LIMIT = 72


class CreateReservation(Message):
    """Reserve GPUs for some hours. The same `reservation_id` twice is one reservation."""

    action: Literal["create_reservation"] = "create_reservation"
    reservation_id: Uuid
    user_id: Name
    gpu_type: GpuType
    gpu_count: GpuCount
    duration_hours: Annotated[Hours, Field(le=HOURS_LIMIT)] = 8.0
    name: Name | None = None
    github_user: GithubUser | None = None
    jupyter_enabled: bool = False
    disk_name: DiskName | None = None
    disk_size_gb: SizeGb | None = None
    dockerimage: Image | None = None
    env_vars: Environment = Field(default_factory=dict)
    command: Annotated[str, StringConstraints(max_length=65_536)] | None = None
    preserve_entrypoint: bool = False
    secondary_users: Annotated[list[GithubUser], Field(max_length=50)] = Field(default_factory=list)
    version: Annotated[str, StringConstraints(max_length=50)] | None = None
    submitted_at: Time | None = None
    total_nodes: Annotated[int, Field(ge=1, le=4)] = 1

    @model_validator(mode="after")
    def _gpus_fit_the_type(self) -> Self:
        if self.gpu_type.startswith("cpu-") and self.gpu_count != 0:
            raise ValueError(f"gpu_count: must be 0 for {self.gpu_type}; not {self.gpu_count}")
        if not self.gpu_type.startswith("cpu-") and self.gpu_count == 0:
            raise ValueError(f"gpu_count: must be 1, 2, 4, 8 or 16 for {self.gpu_type}; not 0")
        return self


class Request(Message):
    """What a user asks about a reservation of theirs."""

    reservation_id: Uuid
    user_id: Name


class Cancel(Request):
    """End it, whatever its state; before its create arrives, too."""

    action: Literal["cancel"] = "cancel"


class Extend(Request):
    """More hours; in total since launch at most 168."""

    action: Literal["extend", "extend_reservation"] = "extend"
    extension_hours: Hours


class EnableJupyter(Request):
    action: Literal["enable_jupyter"] = "enable_jupyter"


class DisableJupyter(Request):
    action: Literal["disable_jupyter"] = "disable_jupyter"


class AddUser(Request):
    """Let another GitHub user in over SSH."""

    action: Literal["add_user"] = "add_user"
    github_username: GithubUser


class Ticket(Message):
    """The worker's own: the row's turn to be looked at. An older number than the row's is stale."""

    action: Literal["advance"] = "advance"
    reservation_id: Uuid
    ticket: int


class Admit(Message):
    """The worker's own: the line of a GPU type may be able to move up."""

    action: Literal["admit"] = "admit"
    gpu_type: GpuType


class SweepPods(Message):
    """The worker's own: look for pods whose reservation has ended."""

    action: Literal["sweep_pods"] = "sweep_pods"


# What others send; the published JSON Schema is made of these.
REQUESTS: dict[str, type[Message]] = by_action(
    CreateReservation, Cancel, Extend, EnableJupyter, DisableJupyter, AddUser
)
ACTIONS: dict[str, type[Message]] = {**REQUESTS, **by_action(Ticket, Admit, Sweep, SweepPods)}


def read(body: Any) -> Message:
    """A body of `gpu_reservations` as its message.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    if isinstance(body, dict) and "action" not in body and body.get("type") == "cancellation":
        body = {**body, "action": "cancel"}
    return read_message(body, ACTIONS)


class Wanted(Protocol):
    """What is asked for, by a message or in a row."""

    @property
    def gpu_type(self) -> str: ...
    @property
    def gpu_count(self) -> int: ...
    @property
    def duration_hours(self) -> float: ...


def misfit(message: Wanted, gpu_type: Mapping[str, Any] | None, max_hours: float) -> str | None:
    """Why a reservation can never start; None if it can. `gpu_type` is the row of its type, if there is one."""
    if gpu_type is None:
        return f"gpu_type: {message.gpu_type} is not known; see `pgfleet types`"
    most = gpu_type["max_per_node"] or gpu_type["max_gpus"]
    if message.gpu_count > most:
        return f"gpu_count: a {message.gpu_type} node has {most} GPUs, not {message.gpu_count}"
    if message.duration_hours > max_hours:
        return f"duration_hours: at most {max_hours:g}; not {message.duration_hours:g}"
    return None


def pod_name(reservation_id: str) -> str:
    """Names come from the id, so that an effect done twice is an effect done once."""
    return f"gpu-dev-{reservation_id[:8]}"
