"""What the audit says of requests."""

from typing import Any

import httpx

from worlds.database import Connection


def audited(conn: Connection, action: str) -> list[tuple[Any, ...]]:
    """Each row of an action: of what, by whom, in which role, and whether it was done."""
    query = "select resource_id, user_role, status from autoscaler.audit_logs where action = %s order by id"
    return conn.execute(query, (action,)).fetchall()


def turned(client: httpx.Client, path: str, key: str, **asked: Any) -> list[Any]:
    """What a list has of each row, page by page."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = client.get(path, params={**asked, **({} if cursor is None else {"cursor": cursor})})
        assert page.status_code == 200, page.text
        found += [row[key] for row in page.json()["items"]]
        cursor = page.json()["next"]
        if cursor is None:
            return found
