"""Settings of the HTTP API alone, beside those of all programs (`schema/settings.py`)."""

import json
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pgfleet.schema.environment.values import Seconds
from pgfleet.schema.settings import read_as

Network = IPv4Network | IPv6Network
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]


def _listed(given: Any) -> Any:
    """In the environment: `one, another`."""
    return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


def _issuers(given: Any) -> Any:
    """In the environment: addresses as a list, or JSON where each has an audience of its own."""
    if isinstance(given, str) and given.lstrip().startswith(("[", "{")):
        try:
            given = json.loads(given)
        except ValueError:
            raise ValueError("begins as JSON does, and is none") from None
        given = [given] if isinstance(given, dict) else given
    given = _listed(given)
    if not isinstance(given, list):
        return given
    return [{"issuer": each} if isinstance(each, str) else each for each in given]


def _networks(given: Any) -> Any:
    given = _listed(given)
    return [_network(each) for each in given] if isinstance(given, list) else given


def _network(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return ip_network(given)
    except ValueError as error:
        raise ValueError(f"{given!r} is no address and no network: {error}") from None


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine itself."""
    try:
        return host.lower() == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


Names = Annotated[tuple[Name, ...], NoDecode, BeforeValidator(_listed), Field(max_length=10)]


class Trusted(BaseModel):
    """An issuer whose tokens are believed, as its tokens name it, where they are meant for us."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#@]+$", max_length=500)]
    audience: Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(max_length=10)] = ()


class ServeSettings(BaseSettings):
    """As `Settings`: each is the variable `PGFLEET_<NAME>`, and its comment what `deploy/SETTINGS.md` says of it."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="PGFLEET_", extra="ignore", env_ignore_empty=True)

    # Whose tokens are believed: addresses, or JSON, [{"issuer": "https://...", "audience": "..."}].
    oidc_issuers: Annotated[tuple[Trusted, ...], NoDecode, BeforeValidator(_issuers), Field(max_length=10)] = ()
    # What tokens have to be meant for (`aud`), where an issuer has no audience of its own.
    oidc_audience: Names = ()
    # The first of these claims that a token has is its user's name.
    oidc_username_claim: Names = ("preferred_username", "nickname")
    # Where the roles are, as `realm_access.roles`; without it, tokens say nothing about roles.
    oidc_role_claim: Name | None = None
    # The issuer whose verified e-mail addresses are believed to be those of existing accounts.
    oidc_link_issuer: str | None = None
    # The dashboard signs in as this client, at one of the issuers.
    oidc_client_id: Name | None = None
    # The secret of that client, if it has one.
    oidc_client_secret: SecretStr | None = None
    # The issuer that the dashboard signs in at; without it, the first.
    oidc_sign_in_issuer: str | None = None
    # Issuers are asked over https; over http only on this machine, or anywhere with this.
    oidc_allow_http: bool = False

    # Requests that one principal may make, on average.
    requests_per_s: Seconds = 20
    # Requests that one may make at once.
    requests_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    # Requests without a proof that holds that one address may make, on average.
    strangers_per_s: Seconds = 2
    # Those that it may make at once.
    strangers_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    # A queue with more messages that are due takes nothing new over HTTP.
    queue_most_waiting: Annotated[int, Field(ge=1)] = 100_000
    # Nor does one whose oldest has been due for longer.
    queue_oldest_s: Seconds = 3600
    # Sessions of the database, and threads that answer.
    serve_threads: Annotated[int, Field(ge=1, le=64)] = 16
    # What the database has not answered by then is given up.
    serve_timeout_s: Annotated[float, Field(gt=0, le=60)] = 2
    # Heartbeats that arrive within this time go to the queue as one batch.
    heartbeat_window_s: Annotated[float, Field(ge=0, le=1)] = 0.005
    # A heartbeat is answered within this time, or refused.
    heartbeat_deadline_s: Annotated[float, Field(ge=1, le=60)] = 5
    # The addresses and networks of proxies whose X-Forwarded-For and Forwarded are believed.
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks), Field(max_length=1000)] = ()
    # Where people reach the dashboard, where that is not what their browser asks for: https://fleet.example.org
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+$", max_length=300)] | None = None
    # A session of the dashboard ends by itself after so long.
    session_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 12
    # A request's body has to be here in so long.
    body_timeout_s: Seconds = 20

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        names = [each.issuer for each in self.oidc_issuers]
        if len(set(names)) < len(names):
            raise ValueError("PGFLEET_OIDC_ISSUERS names an issuer twice")
        for each in self.oidc_issuers:
            address = urlsplit(each.issuer)
            if address.scheme == "http" and not self.oidc_allow_http and not is_loopback(address.hostname or ""):
                raise ValueError(f"PGFLEET_OIDC_ISSUERS: {each.issuer} is not https, and not on this machine")
            if not self.audience_of(each):
                raise ValueError(
                    "PGFLEET_OIDC_AUDIENCE is not set: without it, tokens that were made for any other "
                    f"service of {each.issuer} would be believed"
                )
        if self.oidc_link_issuer is not None and self.oidc_link_issuer not in names:
            raise ValueError("PGFLEET_OIDC_LINK_ISSUER is none of PGFLEET_OIDC_ISSUERS, letter by letter")
        if self.oidc_sign_in_issuer is not None and self.oidc_sign_in_issuer not in names:
            raise ValueError("PGFLEET_OIDC_SIGN_IN_ISSUER is none of PGFLEET_OIDC_ISSUERS, letter by letter")
        if self.oidc_client_id is not None and not names:
            raise ValueError("PGFLEET_OIDC_CLIENT_ID is set, and PGFLEET_OIDC_ISSUERS names nobody to sign in at")
        return self

    @property
    def sign_in_issuer(self) -> str | None:
        """Where the dashboard lets people sign in; None where it does not."""
        if self.oidc_client_id is None:
            return None
        return self.oidc_sign_in_issuer or self.oidc_issuers[0].issuer

    def audience_of(self, trusted: Trusted) -> tuple[str, ...]:
        """What its tokens have to be meant for: those that it makes for the dashboard are meant for us, too."""
        own = (self.oidc_client_id,) if self.oidc_client_id and trusted.issuer == self.sign_in_issuer else ()
        return (*(trusted.audience or self.oidc_audience), *own)


def read_serve_settings(**given: Any) -> ServeSettings:
    """The settings of this process's HTTP API.

    Raises:
        BadSettings: some value can't be used; the message names every variable and what is wrong.
    """
    return read_as(ServeSettings, **given)
