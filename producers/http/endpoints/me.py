"""`/v1/me`: whom the API takes you for."""

from datetime import datetime

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint
from pgfleet.producers.http.shapes.shown import Shown


class Me(Shown):
    username: str
    role: str
    proof: str
    email: str | None
    expires_at: datetime | None


def get_me(call: Call) -> Answer:
    who = call.principal
    return Answer(
        {
            "username": who.username,
            "role": who.role.value,
            "proof": who.proof.value,
            "email": who.email,
            "expires_at": who.expires_at,
        }
    )


ENDPOINTS = (Endpoint("GET", "/v1/me", "Whom the API takes you for", "me.read", get_me, Me),)
