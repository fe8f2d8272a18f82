"""What is known of a reservation's pod: where its Jupyter is."""

from typing import Any
from urllib.parse import quote

from pgfleet.schema.queue.kernel import Connection


def jupyter_address(conn: Connection, row: dict[str, Any]) -> str | None:
    """Where its Jupyter is, with the token, as a browser takes it; None where it is not, or not for who asks."""
    found = conn.execute("select public.jupyter_token_of(%s)", (row["reservation_id"],)).fetchone()
    token = found and found[0]
    return f"{row['jupyter_url']}?token={quote(token)}" if token and row["jupyter_url"] else None
