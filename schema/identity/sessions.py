"""Sessions of the dashboard: a key that a browser holds, of whoever has proven who they are otherwise."""

from pgfleet.schema.identity.keys import SQL, NewKey, draw
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask


def begin(conn: Connection, principal: Principal, *, hours: float) -> NewKey:
    """A session for a principal, for whom the transaction speaks; one that a key has begun ends with that key.

    PF013: they are no person, or not active any more, or the key has ended meanwhile.
    """
    secret = draw()
    (row,) = ask(
        conn,
        SQL["begin_session"],
        key_hash=secret.hashed,
        key_prefix=secret.prefix,
        life_s=hours * 3600,
        with_key=principal.key_id,
    )
    return NewKey(row["key_id"], principal.username, secret.prefix, row["expires_at"], secret.key)
