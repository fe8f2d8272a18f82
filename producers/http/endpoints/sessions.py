"""`/v1/sessions`: signing in with e-mail and password; a session is a key."""

from typing import Annotated

from pydantic import Field, StringConstraints

from pgfleet.producers.http.endpoint import Answer, Endpoint, Opened, Shape
from pgfleet.producers.http.shapes.people import MadeKey
from pgfleet.schema.identity import keys, signing

HOURS = 2.0


class SignIn(Shape):
    email: Annotated[str, StringConstraints(min_length=1, max_length=signing.LONGEST_EMAIL)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Field(repr=False)
    hours: Annotated[float, Field(gt=0, le=keys.LONGEST_HOURS, allow_inf_nan=False)] = HOURS


def sign_in(opened: Opened) -> Answer:
    """The password is compared without a session of the database, as that takes a quarter of a second."""
    asked = opened.given(SignIn)
    with opened.pool.connection(opened.timeout_s) as conn:
        attempt = signing.begin(conn, asked.email, opened.origin)
    attempt.check(asked.password)
    with opened.pool.connection(opened.timeout_s) as conn:
        principal, made = signing.let_in(conn, attempt, opened.origin, hours=asked.hours)
    body = {"key_id": made.key_id, "username": principal.username, "key_prefix": made.prefix, "key": made.key}
    return Answer({**body, "expires_at": made.expires_at})


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/sessions",
        "Sign in with e-mail and password: a key, which is shown this once",
        "sessions.create",
        sign_in,
        MadeKey,
        SignIn,
        status=201,
        example={"email": "ada@example.org", "password": "correct horse battery staple"},
    ),
)
