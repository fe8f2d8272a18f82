"""From what a request carries to the principal whom it proves, by one of three proofs and by nothing else."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.schema.identity.people import Verified
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.nodes.keys import KEY_LENGTH
from pgfleet.schema.queue.kernel import Connection

# A token of an issuer has three parts; a key of ours has one.
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
KEY = re.compile(r"[A-Za-z0-9_-]{20,200}")
LONGEST = 16_384
ByKey = Callable[[Connection, str], Principal | None]


@dataclass(frozen=True, slots=True)
class Prover:
    """How each proof is looked at."""

    by_key: ByKey
    by_node_key: ByKey
    verify: Callable[[str], Verified] | None
    by_token: Callable[[Connection, Verified], Principal]

    def brought(self, headers: Mapping[str, str]) -> str | Verified:
        """The key, or what the token says, which is verified: without the database, as an issuer may be slow.

        Raises:
            NotProvenError: there is none, or it is no token of an issuer that is trusted here.
        """
        given = _given(headers)
        if TOKEN.fullmatch(given):
            if self.verify is None:
                raise NotProvenError("tokens are not taken here: no issuer is configured (PGFLEET_OIDC_ISSUERS)")
            return self.verify(given)
        if not KEY.fullmatch(given):
            raise NotProvenError("this is no key, and no token")
        return given

    def prove(self, conn: Connection, brought: str | Verified) -> Principal:
        """Whom a key or a token is of.

        Raises:
            NotProvenError: nobody.
        """
        if isinstance(brought, Verified):
            return self.by_token(conn, brought)
        # Nodes ask most often, and each look costs a query.
        of_nodes_first = len(brought) == KEY_LENGTH
        looks = (self.by_node_key, self.by_key) if of_nodes_first else (self.by_key, self.by_node_key)
        found = looks[0](conn, brought) or looks[1](conn, brought)
        if found is None:
            raise NotProvenError("this key is not known, has ended or was revoked; `pgfleet login` gets a new one")
        return found


def _given(headers: Mapping[str, str]) -> str:
    """The key or token; of a node, also in `X-API-Key`.

    Raises:
        NotProvenError: there is none, or there are two.
    """
    authorization, node_key = headers.get("authorization"), headers.get("x-api-key")
    if authorization is not None and node_key is not None:
        raise NotProvenError("give Authorization or X-API-Key, not both")
    if node_key is not None:
        return _bounded(node_key)
    if authorization is None:
        raise NotProvenError("say who you are: `Authorization: Bearer <key or token>`")
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise NotProvenError("the scheme is Bearer: `Authorization: Bearer <key or token>`")
    return _bounded(value.strip())


def _bounded(value: str) -> str:
    if len(value) > LONGEST:
        raise NotProvenError(f"a key or token has at most {LONGEST:,} characters")
    return value
