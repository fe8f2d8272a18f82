"""What lets whoever runs `pgfleet up` into the API of the embedded server: a login for it, an ADMIN account, a key."""

from urllib.parse import urlsplit

from psycopg.sql import SQL, Identifier

from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.queue.kernel import Connection

LOGIN = "pgfleet_serve_of_up"
HOURS = 24
USED_FOR = "pgfleet up"


def serving_dsn(conn: Connection, dsn: str) -> str:
    """The connection string of a login that may what `pgfleet serve` may and nothing else; made once."""
    login = Identifier(LOGIN)
    if conn.execute("select from pg_catalog.pg_roles where rolname = %s", (LOGIN,)).fetchone() is None:
        conn.execute(SQL("create role {} login").format(login))
    conn.execute(SQL("grant pgfleet_serve to {}").format(login))
    place = urlsplit(dsn)
    return place._replace(netloc=f"{LOGIN}@{place.netloc.rpartition('@')[2]}").geturl()


def first_key(conn: Connection) -> keys.NewKey:
    """A new key of whoever runs this, who is an ADMIN from the first time on; the key of the time before ends."""
    user = default_user()
    email = user if "@" in user else f"{user}@localhost"
    known = [row["username"] for row in accounts.listing(conn, email)]
    if not known:
        # Bound afterwards, as rows of theirs may have the name already.
        account = accounts.add(conn, email, role="ADMIN")
        accounts.bind(conn, str(account), user)
    name = known[0] if known else user
    for row in keys.listing(conn, name):
        if row["description"] == USED_FOR and row["is_active"]:
            keys.revoke(conn, str(row["key_id"]))
    return keys.make(conn, name, hours=HOURS, description=USED_FOR)
