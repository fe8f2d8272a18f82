"""Policies, read and written for people: who may have how much of what, and what applies to one of them."""

from dataclasses import dataclass

from pgfleet.schema.errors import Refusal
from pgfleet.schema.nearest import meant
from pgfleet.schema.policy.limits import Limits, limits_in
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import give_reason
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
EVERYBODY, TEAM, USER = "everybody", "team", "user"
IMAGES, GPUS = "images", "gpus"
WITH_PARTS = frozenset({"hours", "hours_week"})
MOST = 10**9


@dataclass(frozen=True, slots=True)
class Whose:
    """What a policy limits, and for whom; of GPUs of one type, or of each that no other policy names."""

    limit_name: str
    applies_to: str = EVERYBODY
    subject: str = ""
    gpu_type: str = ""

    @property
    def shown(self) -> str:
        of = f" of {self.gpu_type}" if self.gpu_type else ""
        return f"{self.limit_name}{of} for {f'{self.applies_to} {printable(self.subject)}'.strip()}"


def policies(conn: Connection) -> list[Row]:
    return ask(conn, SQL["policies"])


def limits_of(conn: Connection, user_id: str) -> Limits:
    """What applies to a user, and what is used of it; nothing where this login may not see that."""
    if not ask(conn, SQL["may_see"])[0]["may"]:
        return {}
    return limits_in(ask(conn, SQL["limits"], user_id=user_id))


def put(conn: Connection, whose: Whose, most: float | None, patterns: list[str] | None, who: str) -> None:
    """Set a policy: a number, or for images patterns; with neither there is no limit.

    Raises:
        Refusal: nothing of that name can be limited, or not so.
    """
    _check(conn, whose)
    _check_given(whose.limit_name, most, patterns)
    given = ", ".join(patterns) if patterns else "none" if most is None else _shown(most)
    with conn.transaction():
        give_reason(conn, f"{who}: {whose.shown}: {given}")
        ask(conn, SQL["put"], most=most, patterns=patterns, set_by=who, **_named(whose))


def typed(conn: Connection, whose: Whose, text: str) -> tuple[float | None, list[str] | None]:
    """A number, for images patterns with commas between them, or `none` for no limit.

    Raises:
        Refusal: it is none of these, or nothing of that name can be limited.
    """
    _check(conn, whose)
    limit_name, given = whose.limit_name, text.strip()
    if given == "none":
        return None, None
    if limit_name == IMAGES:
        return None, [part.strip() for part in given.split(",") if part.strip()]
    try:
        return float(given), None
    except ValueError:
        raise _no_number(limit_name, given) from None


def remove(conn: Connection, whose: Whose, who: str) -> bool:
    """Remove a policy; whether there was one.

    Raises:
        Refusal: nothing of that name can be limited.
    """
    _check(conn, whose)
    with conn.transaction():
        give_reason(conn, f"{who}: {whose.shown}: removed")
        return bool(ask(conn, SQL["remove"], **_named(whose))[0]["was_there"])


def _named(whose: Whose) -> dict[str, str]:
    return {name: getattr(whose, name) for name in ("applies_to", "subject", "limit_name", "gpu_type")}


def limit_names(conn: Connection) -> list[str]:
    """What can be limited."""
    return [row["name"] for row in ask(conn, SQL["names"])]


def _check(conn: Connection, whose: Whose) -> None:
    names = limit_names(conn)
    if whose.limit_name not in names:
        raise Refusal(f"There is no limit {printable(whose.limit_name)}. {meant(whose.limit_name, names)}")
    if whose.gpu_type and whose.limit_name != GPUS:
        raise Refusal(f"--gpu-type is for {GPUS} only.")


def _shown(most: float) -> str:
    return str(int(most)) if most == int(most) else str(most)


def _check_given(limit_name: str, most: float | None, patterns: list[str] | None) -> None:
    if limit_name == IMAGES:
        if most is not None or patterns == []:
            raise Refusal(f"{IMAGES} takes patterns such as ghcr.io/ours/*, or `none` for no limit.")
        return
    if patterns is not None:
        raise Refusal(f"{limit_name} takes a number; patterns are for {IMAGES}.")
    if most is not None and not (0 <= most <= MOST and (limit_name in WITH_PARTS or most == int(most))):
        raise _no_number(limit_name, str(most))


def _no_number(limit_name: str, given: str) -> Refusal:
    return Refusal(f"{limit_name} takes a number from 0 on, or `none` for no limit; not {printable(given)}.")
