"""Keys, tokens and passwords are in no answer but the one that makes them, and in no log, audit or history."""

from statistics import median
from time import perf_counter
from typing import Any

import httpx

from pgfleet.schema.identity import accounts, keys, passwords
from worlds.api.login import serving_dsn
from worlds.api.program import program
from worlds.api.server import Api
from worlds.database import Connection, dump

PASSWORD = "correct-horse-battery-staple"  # noqa: S105  # looked for, and nobody's
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYWxsb3J5In0.c2VjcmV0LXNpZ25hdHVyZQ"  # noqa: S105  # same
WRONG = "a-wrong-password-that-is-typed"


def used(url: str, key: str) -> list[httpx.Response]:
    """Requests with every secret in every place, right and wrong."""
    asked: dict[str, Any] = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}
    proof = {"Authorization": f"Bearer {key}"}
    sessions = f"{url}/v1/sessions"
    return [
        httpx.post(f"{url}/v1/reservations", json={**asked, "env_vars": {"API_TOKEN": PASSWORD}}, headers=proof),
        httpx.post(f"{url}/v1/reservations", json={**asked, "password": PASSWORD}, headers=proof),
        httpx.get(f"{url}/v1/me", headers=proof),
        httpx.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {TOKEN}"}),
        httpx.get(f"{url}/v1/me", headers={"Authorization": f"Basic {PASSWORD}"}),
        httpx.get(f"{url}/v1/me", headers={"X-API-Key": key[::-1]}),
        httpx.get(f"{url}/v1/keys", headers=proof),
        httpx.post(sessions, json={"email": "boss@example.org", "password": WRONG}),
        httpx.post(sessions, json={"email": "boss@example.org", "password": PASSWORD, "hours": -1}),
        httpx.post(sessions, json={"email": "boss@example.org", "password": [PASSWORD]}),
        httpx.post(sessions, content=f'{{"password": "{PASSWORD}"', headers={"Content-Type": "application/json"}),
        httpx.patch(f"{url}/v1/users/boss@example.org", json={"password": PASSWORD, "x": 1}, headers=proof),
        httpx.post(f"{url}/v1/users", json={"email": "no-email", "password": PASSWORD}, headers=proof),
    ]


def test_no_secret_is_written_anywhere(dsn: str, conn: Connection) -> None:
    """With the log at its most talkative, and the whole database looked through."""
    accounts.add(conn, "boss@example.org", username="boss", role="ADMIN", password_hash=passwords.hash_of(PASSWORD))
    key = keys.make(conn, "boss", hours=2).key
    with serving_dsn(dsn) as own, program(own) as api:
        url = api.url
        answers = used(url, key)
        session = httpx.post(f"{url}/v1/sessions", json={"email": "boss@example.org", "password": PASSWORD})
        made = session.json()["key"]

    secrets = [key, key[::-1], made, TOKEN, TOKEN.rpartition(".")[2], PASSWORD, WRONG]
    told = [answer.text + str(answer.headers) for answer in answers]
    stored = "\n".join(line for line in dump(dsn).splitlines() if "API_TOKEN" not in line)
    assert session.status_code == 201
    assert not [secret for secret in secrets if any(secret in text for text in told)]
    assert not [secret for secret in secrets if secret in api.written]
    assert not [secret for secret in secrets if secret in stored]


# Of the slower one, beside the other: what a client far away could tell after hundreds of tries.
MORE_THAN = 1.6
TRIES = 15


def test_signing_in_takes_as_long_for_nobody_as_for_somebody(api: Api) -> None:
    """A password is compared with something in any case; the answers are the same letter by letter."""
    accounts.add(api.conn, "ada@example.org", username="ada", password_hash=passwords.hash_of(PASSWORD))
    with api.with_key(None) as client:

        def sign_in(email: str) -> httpx.Response:
            return client.post("/v1/sessions", json={"email": email, "password": WRONG})

        pairs = [(_timed(lambda: sign_in("ada@example.org")), _timed(lambda: sign_in("x@example.org")))]
        pairs += [
            (_timed(lambda: sign_in("ada@example.org")), _timed(lambda: sign_in("x@example.org"))) for _ in range(2)
        ]

    known, unknown = [[pair[side] for pair in pairs] for side in (0, 1)]
    assert {answer.status_code for answer, _ in known + unknown} == {401}
    assert {answer.text for answer, _ in known + unknown} == {known[0][0].text}
    assert _ratio([took_s for _, took_s in known], [took_s for _, took_s in unknown]) < MORE_THAN


def _timed(call: Any) -> tuple[httpx.Response, float]:
    began_s = perf_counter()
    return call(), perf_counter() - began_s


def _ratio(one: list[float], other: list[float]) -> float:
    """Of the quickest, as what else runs here only adds."""
    slower, quicker = sorted((min(one), min(other)), reverse=True)
    return slower / quicker


def test_a_key_that_is_nearly_right_is_as_wrong_as_any(api: Api) -> None:
    """It is looked up by its hash: how much of it is right shows nowhere."""
    key = api.key_of("ada")
    near = key[:-1] + ("A" if key[-1] != "A" else "B")
    far = keys.draw().key
    with api.with_key(None) as client:

        def ask(given: str) -> httpx.Response:
            return client.get("/v1/me", headers={"Authorization": f"Bearer {given}"})

        nearly, other = ([_timed(lambda given=given: ask(given)) for _ in range(TRIES)] for given in (near, far))

    assert {answer.status_code for answer, _ in nearly + other} == {401}
    assert len({answer.text for answer, _ in nearly + other}) == 1
    assert _ratio([median(took_s for _, took_s in nearly)], [median(took_s for _, took_s in other)]) < 2 * MORE_THAN
