"""Reservations: their states, and the messages of the queue `gpu_reservations`.

The moves between the states are in `011_reservation_machine.sql`, where the database enforces them; the steps that
make them are in `workers/reservation/machine.py`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid5

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from pgfleet.schema.container import Container, GithubUser
from pgfleet.schema.disk import DiskName, SizeGb
from pgfleet.schema.gang.asked import TOGETHER, Wanted, hint, most_of, unfitting, wrong_count
from pgfleet.schema.gang.nodes import NODES_LIMIT
from pgfleet.schema.messages import (
    ONE_LINE,
    Hours,
    Message,
    Name,
    Sweep,
    TicketNumber,
    Time,
    TimeWithZone,
    Uuid,
    by_action,
    matching,
    read_message,
)
from pgfleet.schema.printable import plural
from pgfleet.schema.tickets import Tickets

QUEUE = "gpu_reservations"
# By these a body that is refused still says what it is about.
IDS = ("reservation_id",)
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
ALIASES = {"running": Status.ACTIVE}  # seed 003 says `running`; a reader may say either

GPU_COUNTS = (1, 2, 4, 8, 16)


def _gpu_count(count: int) -> int:
    if count not in (0, *GPU_COUNTS):
        raise ValueError(f"must be 1, 2, 4, 8 or 16, or 0 for a cpu type; not {count}")
    return count


GpuCount = Annotated[int, AfterValidator(_gpu_count), Field(json_schema_extra={"enum": [0, *GPU_COUNTS]})]
# Nodes have it as a label.
GPU_TYPE = r"^[a-z0-9]([a-z0-9.-]{0,48}[a-z0-9])?$"
GpuType = Annotated[
    str,
    matching(GPU_TYPE, "must be the name of a GPU type, such as h100: lower-case letters, digits, '-' and '.'"),
    Field(json_schema_extra={"pattern": GPU_TYPE}),
]


def is_gpu_type(name: str) -> bool:
    """Whether a type may be called so."""
    return re.fullmatch(GPU_TYPE, name) is not None


IdleMinutes = Annotated[int, Field(ge=1, le=7 * 24 * 60)]  # up to a week
RequestId = Annotated[str, StringConstraints(min_length=1, max_length=100), ONE_LINE]
# The longest that SPEC allows; the worker's settings may allow less.
HOURS_LIMIT = 72
# What nobody adds at once, whatever the worker's settings allow in all.
ADDED_HOURS_LIMIT = 1000
# Names of pods, and what others may have labelled as one: a path, or a second selector, is none.
POD_NAME = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$"


class CreateReservation(Container):
    """Reserve GPUs for some hours. The same `reservation_id` twice is one reservation.

    Without a `github_user`, whose SSH keys let the user in, it is the one on record for them. With `total_nodes` it is
    a gang: so many nodes with `gpu_count` GPUs each, which start and end together.
    """

    model_config = ConfigDict(json_schema_extra=TOGETHER)

    action: Literal["create_reservation"] = "create_reservation"
    reservation_id: Uuid
    user_id: Name
    gpu_type: GpuType
    gpu_count: GpuCount
    duration_hours: Annotated[Hours, Field(le=HOURS_LIMIT)] = 8.0
    name: Name | None = None
    jupyter_enabled: bool = False
    disk_name: DiskName | None = None
    disk_size_gb: SizeGb | None = None
    version: Annotated[str, StringConstraints(max_length=50), ONE_LINE] | None = None
    submitted_at: Time | None = None
    # Booked for then; what is past is now.
    start_at: TimeWithZone | None = None
    total_nodes: Annotated[int, Field(ge=1, le=NODES_LIMIT)] | None = None
    # It ends when all of its GPUs were idle for so long; without it, as the policy of its user says.
    idle_minutes: IdleMinutes | None = None

    @property
    def nodes(self) -> int:
        """How many rows it makes."""
        return self.total_nodes or 1

    @model_validator(mode="after")
    def _fields_fit_each_other(self) -> Self:
        problem = unfitting(self)
        if problem:
            raise ValueError(problem)
        return self


class Request(Message):
    """What a user asks about a reservation of theirs.

    With a `request_id`, the same one again is done once; one that asks for something else is refused.
    """

    reservation_id: Uuid
    user_id: Name
    request_id: RequestId | None = None

    @property
    def asks(self) -> str:
        """The first of the words that its action may be."""
        word: str = type(self).model_fields["action"].default
        return word

    @property
    def content(self) -> str:
        """A hash of what is asked for, of whichever node of a gang and by whatever word."""
        asked = self.model_dump(mode="json", exclude={"action", "reservation_id", "user_id", "request_id"})
        return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def noted_in(self, requests_done: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """What is noted of a request of its sort with its `request_id`, whatever that asked for."""
        mine = (each for each in requests_done if each.get("request_id") == self.request_id is not None)
        return next((each for each in mine if each["action"] == self.asks), None)

    def is_as(self, done: Mapping[str, Any]) -> bool:
        """Whether what is noted asked for the same; older versions noted nothing of that."""
        return done.get("content") in (None, self.content)


class Cancel(Request):
    """End it, whatever its state; before its create arrives, too."""

    action: Literal["cancel"] = "cancel"


class Extend(Request):
    """More hours; in total since launch at most 168."""

    action: Literal["extend", "extend_reservation"] = "extend"
    extension_hours: Annotated[Hours, Field(le=ADDED_HOURS_LIMIT)]


class EnableJupyter(Request):
    """Start a notebook in the pod, and let its user in."""

    action: Literal["enable_jupyter"] = "enable_jupyter"


class DisableJupyter(Request):
    """End the notebook."""

    action: Literal["disable_jupyter"] = "disable_jupyter"


class AddUser(Request):
    """Let another GitHub user in over SSH."""

    action: Literal["add_user"] = "add_user"
    github_username: GithubUser


class Retry(Request):
    """Ask for the same again when it is over, as a new reservation: without a `request_id`, once for ever."""

    action: Literal["retry"] = "retry"


class Ticket(Message):
    """The worker's own: the row's turn to be looked at. An older number than the row's is stale."""

    action: Literal["advance"] = "advance"
    reservation_id: Uuid
    ticket: TicketNumber


class Admit(Message):
    """The worker's own: the line of a GPU type may be able to move up."""

    action: Literal["admit"] = "admit"
    gpu_type: GpuType


class SweepStuck(Message):
    """The worker's own: say which reservations have ended and are not gone."""

    action: Literal["sweep_stuck"] = "sweep_stuck"


class SweepPods(Message):
    """The worker's own: look for pods whose reservation has ended."""

    action: Literal["sweep_pods"] = "sweep_pods"


class ServeLogs(Message):
    """The worker's own: serve what a pod writes to who asked for it (`ask_for_logs`)."""

    action: Literal["serve_logs"] = "serve_logs"
    request_id: Uuid


class SuspectPod(Message):
    """The worker's own: look closely at a pod that no live reservation accounts for; without a uid, at what it left."""

    action: Literal["suspect_pod"] = "suspect_pod"
    pod_uid: Annotated[str, StringConstraints(max_length=64), ONE_LINE]
    pod_name: Annotated[str, matching(POD_NAME, "must be the name of a pod")]
    # That which it says it is of; nothing is known of it.
    reservation_id: Annotated[str, StringConstraints(max_length=255), ONE_LINE]


# As older senders write `cancel`, in a field called `type`.
ALIASES_OF_ACTIONS = ("cancellation",)

# What others send; the published JSON Schema is made of these.
REQUESTS: dict[str, type[Message]] = by_action(
    CreateReservation, Cancel, Extend, EnableJupyter, DisableJupyter, AddUser, Retry
)
ACTIONS: dict[str, type[Message]] = {
    **REQUESTS,
    **by_action(Ticket, Admit, Sweep, SweepPods, SuspectPod, SweepStuck, ServeLogs),
}


def read(body: Any) -> Message:
    """A body of `gpu_reservations` as its message.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    if isinstance(body, dict) and "action" not in body and body.get("type") == "cancellation":
        body = {"action": "cancel", **{name: value for name, value in body.items() if name != "type"}}
    return read_message(body, ACTIONS)


def misfit(message: Wanted, gpu_type: Mapping[str, Any] | None, max_hours: float) -> str | None:
    """Why a reservation can never start; None if it can. `gpu_type` is the row of its type, if there is one."""
    if gpu_type is None:
        return f"gpu_type: {message.gpu_type} is not known; see `pgfleet types`"
    most = most_of(gpu_type)
    if message.gpu_count > most:
        return (
            f"gpu_count: a {message.gpu_type} node has {plural(most, 'GPU')}, not {message.gpu_count}"
            f"{hint(message.gpu_count, most)}"
        )
    if message.duration_hours > max_hours:
        return f"duration_hours: at most {max_hours:g}; not {message.duration_hours:g}"
    return wrong_count(message)


def retried_id(reservation_id: str, request_id: str | None = None) -> str:
    """The id of the reservation that a retry makes: the same request makes one, however often it comes."""
    return str(uuid5(UUID(reservation_id), request_id or ""))
