"""A provider of OpenID Connect that others wrote (`oidc-provider-mock`), as a program of its own."""

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

from worlds.fleet import until

SUBJECT = "auth0|ada"


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
def provider(port: int, *, life_s: int = 3600) -> Iterator[Provider]:
    """Each has a key of its own; its tokens are good for so long."""
    program = Path(sys.executable).with_name("oidc-provider-mock")
    # It warns of packages of its own.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [program, "--port", str(port), "--token-max-age", str(life_s)], env=quiet, stderr=subprocess.DEVNULL
    )
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
