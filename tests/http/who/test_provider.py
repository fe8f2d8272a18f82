"""A provider that others wrote (`oidc-provider-mock`), as a program of its own: sign in, change, rotate."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from pgfleet.producers.http.settings import read_serve_settings
from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.producers.http.who.oidc import Oidc
from worlds.fleet import until
from worlds.network.ports import free_port

SUBJECT = "auth0|ada"
ADA = {"email": "ada@example.org", "email_verified": True, "nickname": "ada"}


@dataclass(frozen=True)
class Provider:
    url: str

    def knows(self, **claims: Any) -> None:
        httpx.put(f"{self.url}/users/{quote(SUBJECT)}", json=claims).raise_for_status()

    def token(self, client: str = "fleet") -> str:
        """The ID token of whoever signs in through the authorization code flow."""
        asked = {
            "client_id": client,
            "redirect_uri": "http://127.0.0.1:1/back",
            "response_type": "code",
            "scope": "openid profile email",
        }
        back = httpx.post(f"{self.url}/oauth2/authorize", params=asked, data={"sub": SUBJECT}).headers["location"]
        code = parse_qs(urlsplit(back).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "client_secret": "any"}
        form |= {name: asked[name] for name in ("client_id", "redirect_uri")}
        return str(httpx.post(f"{self.url}/oauth2/token", data=form).raise_for_status().json()["id_token"])


@contextmanager
def provider(port: int) -> Iterator[Provider]:
    """Each has a key of its own."""
    program = Path(sys.executable).with_name("oidc-provider-mock")
    # It warns of packages of its own.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([program, "--port", str(port)], env=quiet, stderr=subprocess.DEVNULL)
    try:
        made = Provider(f"http://127.0.0.1:{port}")
        until(lambda: _answers(made.url), what="the provider")
        yield made
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/jwks").is_success
    return False


def reader(provider: Provider, clock: Any) -> Oidc:
    settings = read_serve_settings(
        oidc_issuers=provider.url,
        oidc_audience="fleet",
        oidc_role_claim="realm_access.roles",
        oidc_link_issuer=provider.url,
    )
    return Oidc(settings, clock=clock)


def test_whoever_signs_in_is_who_the_provider_says(clock: Any) -> None:
    with provider(free_port()) as ours:
        ours.knows(**ADA, realm_access={"roles": ["DevOps"]})
        oidc = reader(ours, clock)

        claims = oidc.verify(ours.token())
        with pytest.raises(NotProvenError, match="somebody else"):
            oidc.verify(ours.token(client="another"))

    assert (claims.issuer, claims.subject, claims.username) == (ours.url, SUBJECT, "ada")
    assert (claims.role, oidc.email_to_link(claims)) == ("DEVOPS", "ada@example.org")


def test_a_role_that_is_taken_away_is_gone_with_the_next_token(clock: Any) -> None:
    with provider(free_port()) as ours:
        oidc = reader(ours, clock)
        ours.knows(**ADA, realm_access={"roles": ["admin"]})
        before = oidc.verify(ours.token()).role
        ours.knows(**ADA)

        after = oidc.verify(ours.token()).role

    assert (before, after) == ("ADMIN", "USER")


def test_a_provider_that_has_new_keys_is_believed_and_the_old_ones_are_not(clock: Any) -> None:
    port = free_port()
    with provider(port) as before:
        oidc = reader(before, clock)
        old = before.token()
        oidc.verify(old)
    clock.now += 60

    with provider(port) as after:
        claims = oidc.verify(after.token())
        with pytest.raises(NotProvenError, match="signature"):
            oidc.verify(old)

    assert claims.subject == SUBJECT
