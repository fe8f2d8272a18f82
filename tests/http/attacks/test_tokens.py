"""Tokens of a real issuer against a running server: first sight, other issuers, roles, ends, names of others."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
import pytest

from pgfleet.producers.http.events.limits import Pace
from pgfleet.schema.identity import accounts
from worlds.api.server import Api, api_on
from worlds.fleet import PATIENCE_S
from worlds.network.ports import free_port
from worlds.network.provider import Provider, provider

ADA = {"email": "ada@example.org", "email_verified": True, "nickname": "ada"}
QUICK = Pace(beat_s=0.1, check_s=0.1, unchecked_s=5)


@pytest.fixture(scope="module")
def issuers() -> Iterator[tuple[Provider, Provider]]:
    with provider(free_port()) as ours, provider(free_port()) as other:
        yield ours, other


@pytest.fixture
def world(dsn: str, issuers: tuple[Provider, Provider]) -> Iterator[tuple[Api, Provider, Provider]]:
    ours, other = issuers
    trusted: dict[str, Any] = {
        "oidc_issuers": f"{ours.url},{other.url}",
        "oidc_audience": "fleet",
        "oidc_role_claim": "realm_access.roles",
    }
    with api_on(dsn, pace=QUICK, **trusted) as api:
        yield api, ours, other


def me(api: Api, token: str) -> httpx.Response:
    with api.with_key(token) as client:
        return client.get("/v1/me")


@contextmanager
def listening(api: Api, token: str) -> Iterator[Iterator[str]]:
    """A stream of somebody, past its first lines."""
    with api.with_key(token) as client, client.stream("GET", "/v1/events", timeout=PATIENCE_S) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        yield lines


def ends(lines: Iterator[str]) -> str:
    """Why the stream ended, by its last event."""
    return "\n".join(lines).rpartition("event: end")[2]


def test_the_first_sight_of_somebody_makes_the_account(world: tuple[Api, Provider, Provider]) -> None:
    api, ours, _ = world
    ours.knows(**ADA, realm_access={"roles": ["devops"]})

    first, again = me(api, ours.token()), me(api, ours.token())

    assert (first.json()["username"], first.json()["role"], first.json()["proof"]) == ("ada", "DEVOPS", "oidc")
    assert first.json()["username"] == again.json()["username"]
    assert api.conn.execute("select count(*) from autoscaler.users").fetchone() == (1,)


def test_the_same_subject_of_another_issuer_is_somebody_else(world: tuple[Api, Provider, Provider]) -> None:
    """Who has the name has it: the other one is not let in under it, and sees nothing."""
    api, ours, other = world
    ours.knows(**ADA)
    other.knows(**ADA)

    mine, theirs = me(api, ours.token()), me(api, other.token())

    assert (mine.status_code, theirs.status_code) == (200, 403)
    other.knows(email="ada@example.org", email_verified=True, nickname="ada-2")
    named = me(api, other.token())
    assert (named.status_code, named.json()["username"]) == (200, "ada-2")
    assert api.conn.execute("select count(*) from autoscaler.users").fetchone() == (2,)


def test_a_name_that_belongs_to_somebody_else_is_refused(world: tuple[Api, Provider, Provider]) -> None:
    """Of a local account, of rows, of a login, in whatever letters."""
    api, ours, _ = world
    accounts.add(api.conn, "grace@example.org", username="grace", role="ADMIN")

    for name in ("grace", "GRACE", "postgres", "pgfleet_serve"):
        ours.knows(email="x@example.org", nickname=name)
        answer = me(api, ours.token())
        assert answer.status_code == 403, name
        assert "grace@example.org" not in answer.text


def test_an_account_that_is_not_active_any_more_ends_its_stream(world: tuple[Api, Provider, Provider]) -> None:
    """Its token is good for a while yet, and opens nothing."""
    api, ours, _ = world
    ours.knows(**ADA, realm_access={"roles": ["devops"]})
    with listening(api, ours.token()) as lines:
        api.conn.execute("update autoscaler.users set is_active = false")

        assert "refused" in ends(lines)
    assert me(api, ours.token()).status_code in {401, 403}


def test_a_role_that_a_later_token_has_not_is_not_given_back_by_a_stream(world: tuple[Api, Provider, Provider]) -> None:
    """The stream's own token says it still; that is looked at anew, and not obeyed."""
    api, ours, _ = world
    ours.knows(**ADA, realm_access={"roles": ["devops"]})
    with listening(api, ours.token()) as lines:
        ours.knows(**ADA)
        assert me(api, ours.token()).json()["role"] == "USER"

        assert "refused" in ends(lines)
    assert api.conn.execute("select role::text from autoscaler.users").fetchone() == ("USER",)


def test_a_token_that_expires_in_mid_stream_ends_the_stream(dsn: str) -> None:
    """Not before, soon after, and with a last event that says so."""
    with (
        provider(free_port(), life_s=2) as ours,
        api_on(dsn, pace=QUICK, oidc_issuers=ours.url, oidc_audience="fleet") as api,
    ):
        ours.knows(**ADA)
        assert me(api, ours.token()).status_code == 200, "the account is there, and the key of the issuer is known"
        token = ours.token()
        with listening(api, token) as lines:
            why = ends(lines)

        assert "refused" in why
        assert 0 <= time.time() - expires_at(token) < PATIENCE_S


def expires_at(token: str) -> float:
    """In seconds since 1970."""
    return float(jwt.decode(token, options={"verify_signature": False})["exp"])


def test_an_account_that_is_not_active_is_refused_at_once(world: tuple[Api, Provider, Provider]) -> None:
    api, ours, _ = world
    ours.knows(**ADA)
    token = ours.token()
    before = me(api, token).status_code
    api.conn.execute("update autoscaler.users set is_active = false")

    assert (before, me(api, token).status_code) == (200, 403)


def test_a_token_of_nobody_we_trust_or_for_another_is_none(world: tuple[Api, Provider, Provider]) -> None:
    api, ours, _ = world
    ours.knows(**ADA)
    good = ours.token()
    head, claims, signature = good.split(".")

    bad = [ours.token(client="another"), f"{head}.{claims}.", f"{head}.{claims}.{signature[::-1]}", f"{good}.x"]
    answers = [me(api, token) for token in bad]

    assert {answer.status_code for answer in answers} == {401}
    assert all(signature not in answer.text for answer in answers)


def test_a_key_that_is_revoked_ends_its_stream(world: tuple[Api, Provider, Provider]) -> None:
    api, _, _ = world
    key = api.key_of("ada", "DEVOPS")
    with listening(api, key) as lines:
        with api.as_user("ada") as ada:
            assert ada.delete(f"/v1/keys/{key[:8]}").status_code == 204

        assert "refused" in ends(lines)
    assert me(api, key).status_code == 401


def test_a_role_that_an_administrator_takes_ends_the_stream(world: tuple[Api, Provider, Provider]) -> None:
    api, _, _ = world
    with listening(api, api.key_of("ada", "DEVOPS")) as lines:
        with api.as_user("boss", "ADMIN") as boss:
            assert boss.patch("/v1/users/ada@example.org", json={"role": "USER"}).status_code == 200

        assert "refused" in ends(lines)
