"""Keys, accounts and the audit, as the API shows them: never what opens anything, but once at its making."""

from datetime import datetime

from pgfleet.producers.http.shapes.shown import Shown


class Key(Shown):
    key_id: int
    username: str
    key_prefix: str
    description: str | None
    created_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None
    is_active: bool
    is_session: bool


class MadeKey(Shown):
    """`key` is shown this once, and kept nowhere."""

    key_id: int
    username: str
    key_prefix: str
    expires_at: datetime | None
    key: str


class Account(Shown):
    id: int
    email: str
    username: str | None
    full_name: str | None
    role: str
    role_override: bool
    auth_provider: str
    has_password: bool
    is_active: bool
    issuers: list[str]
    created_at: datetime | None
