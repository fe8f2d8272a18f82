"""`/v1/me`: whom the API takes you for, and of which fleet it is."""

from datetime import datetime

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint
from pgfleet.producers.http.shapes.shown import Shown
from pgfleet.schema.reads import pod


class Me(Shown):
    """`fleet` is the name that the fleet has where several share an account or a cluster."""

    username: str
    role: str
    proof: str
    email: str | None
    expires_at: datetime | None
    fleet: str | None


def get_me(call: Call) -> Answer:
    who = call.principal
    return Answer(
        {
            "username": who.username,
            "role": who.role.value,
            "proof": who.proof.value,
            "email": who.email,
            "expires_at": who.expires_at,
            "fleet": pod.fleet(call.conn) or None,
        }
    )


ENDPOINTS = (Endpoint("GET", "/v1/me", "Whom the API takes you for", "me.read", get_me, Me),)
