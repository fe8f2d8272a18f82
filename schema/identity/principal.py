"""A principal: somebody who has proven who they are, and in which role they ask."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pgfleet.schema.asking import Role


class Proof(StrEnum):
    """How a principal was proven."""

    KEY = "key"  # an API key
    OIDC = "oidc"  # a token of a configured issuer
    NODE_KEY = "node_key"  # the key of a node


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose name and role nobody but the proof has said."""

    username: str  # what `user_id` of rows holds; of a node its number (autoscaler) or its id (cluster)
    role: Role
    proof: Proof
    account_id: int | None = None  # autoscaler.users.id; none of nodes and of people without an account
    email: str | None = None
    key_id: int | None = None  # public.api_keys.key_id, of a key
    expires_at: datetime | None = None  # when the proof ends
