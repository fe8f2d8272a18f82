"""Users of Hopsworks with their assignments, clusters of Hopsworks, and usage, as the API shows them: never a key."""

from datetime import date, datetime
from decimal import Decimal

from pgfleet.producers.http.shapes.shown import Move, Shown


class Assignment(Shown):
    """A user and where they are; what is said of an assignment is null where there is none."""

    user_id: str
    email: str | None
    name: str | None
    account_owner_id: str | None
    status: str | None
    status_reason: str | None
    status_since: datetime | None
    detail: str | None
    cluster_id: str | None
    cluster_name: str | None
    wanted_cluster_id: str | None
    wanted_cluster_name: str | None
    left_cluster_name: str | None
    assigned_by: str | None
    assigned_at: datetime | None
    asked_at: datetime | None
    hopsworks_username: str | None
    account_enabled: bool | None
    max_projects: int | None
    checked_at: datetime | None
    suspended_at: datetime | None
    suspended_for: str | None
    released_at: datetime | None
    failed_at: datetime | None


class Failure(Shown):
    """A check that does not pass at present."""

    check_name: str
    user_id: str | None = None
    details: str | None
    failures: int | None
    first_failed_at: datetime | None
    last_failed_at: datetime | None


class OnItsWay(Shown):
    """What was asked, and no worker has done yet."""

    action: str | None
    due_at: datetime


class AssignmentWhole(Assignment):
    history: list[Move]
    requests: list[OnItsWay]
    open_failures: list[Failure]


class Breaker(Shown):
    open: bool
    kind: str | None
    reason: str | None
    began_at: datetime | None
    retry_at: datetime | None


class HopsworksCluster(Shown):
    id: str
    name: str
    api_url: str
    status: str | None
    max_users: int | None
    current_users: int | None
    assigned: int
    mismatch: bool
    has_kubeconfig: bool
    created_at: datetime | None
    breaker: Breaker
    waiting: dict[str, int]


class HopsworksClusterWhole(HopsworksCluster):
    """`free_elsewhere`: seats on other clusters that take users and answer."""

    free_elsewhere: int
    open_failures: list[Failure]


class Used(Shown):
    """What a user has used in a month, and what they owe since the beginning."""

    user_id: str
    email: str | None
    days: int
    seat_days: Decimal
    gpu_hours: Decimal
    cpu_hours: Decimal
    storage_gb_months: Decimal
    total_cost: Decimal
    total_used: Decimal
    total_purchased: Decimal
    pending: Decimal
    outstanding: Decimal


class Usage(Shown):
    """A page of a month; `currency` is empty where prices have several."""

    month: str
    currency: str
    items: list[Used]
    next: str | None = None


class Day(Shown):
    date: date
    seat_days: Decimal
    gpu_hours: Decimal
    cpu_hours: Decimal
    storage_gb_months: Decimal
    total_cost: Decimal


class Charge(Shown):
    created_at: datetime | None
    amount: Decimal
    currency: str | None
    status: str | None
    description: str | None


class UsageOfOne(Shown):
    """The days of one user's month, and the last charges."""

    user_id: str
    month: str
    currency: str
    total_used: Decimal
    total_purchased: Decimal
    pending: Decimal
    outstanding: Decimal
    days: list[Day]
    charges: list[Charge]
