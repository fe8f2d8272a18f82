"""Who asks for something, and whether they may: one table for all kinds, and what a kind says otherwise.

Who asks is stamped into a message's headers by the door of its queue (`105_door.sql`); nobody else can write it
there. A message without a stamp was sent by a worker or by the owner of the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pgfleet.schema.queue.reading import UnreadableJson

ASKED_BY, ASKED_ROLE = "asked_by", "asked_role"


class Role(StrEnum):
    """In which role somebody asks."""

    USER = "USER"  # a person
    DEVOPS = "DEVOPS"  # an operator
    ADMIN = "ADMIN"  # an operator who decides on users, too
    SERVICE = "SERVICE"  # a service that is trusted to name whom it asks for
    NODE = "NODE"  # a node


_ROLES = {role.value: role for role in Role}


class Whose(StrEnum):
    """Whose rows a role may ask about."""

    NOBODYS = "nobody's"
    OWN = "own"
    PROVEN = "proven"  # of whoever the message carries a proof
    ANY = "any"


# What holds for a kind that says nothing else.
USUAL: Mapping[Role, Whose] = {
    Role.USER: Whose.OWN,
    Role.DEVOPS: Whose.ANY,
    Role.ADMIN: Whose.ANY,
    Role.SERVICE: Whose.ANY,
    Role.NODE: Whose.NOBODYS,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, and in which role."""

    by: str
    role: Role

    def __str__(self) -> str:
        return self.by if self.role == Role.USER else f"{self.by} ({self.role})"


def asked(headers: Any) -> Asked | None:
    """Who asked, by a message's headers; None where a worker or the owner did.

    A role that is not known has no rights, so it is a user's without a name; so is one in headers that can't be read.
    """
    if headers is None:
        return None
    if isinstance(headers, UnreadableJson) and headers.is_object:
        return Asked("", Role.USER)
    if not isinstance(headers, dict) or ASKED_ROLE not in headers:
        return None
    by, given = headers.get(ASKED_BY), headers[ASKED_ROLE]
    role = _ROLES.get(given) if isinstance(given, str) else None
    return Asked(by if role and isinstance(by, str) else "", role or Role.USER)


def stamp(headers: Any) -> dict[str, Any] | None:
    """The headers of a message that asks again for whoever asked; None where a worker or the owner did."""
    who = asked(headers)
    return None if who is None else {ASKED_BY: who.by, ASKED_ROLE: who.role.value}


def refusal(who: Asked | None, message: Any, whose: str, may: Mapping[Role, Whose]) -> str | None:
    """Why a message is not done for who asked; None where it may be. `whose`: the field that says whom it is about."""
    if who is None:
        return None
    about = getattr(message, whose, None) or "nobody"
    match may.get(who.role, Whose.NOBODYS):
        case Whose.ANY:
            return None
        case Whose.OWN if who.by and str(about) == who.by:
            return None
        case Whose.PROVEN if getattr(message, "proof", None) is not None:
            return None
        case Whose.OWN:
            return f"{whose}: {who.by or 'nobody'} may ask for no other, such as {about}"
        case Whose.PROVEN:
            return f"proof: is missing; {who} is not {about}"
        case _:
            return f"action: {who} may not ask for {message.action}"
