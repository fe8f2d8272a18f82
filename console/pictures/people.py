"""What `pgfleet keys` and `pgfleet accounts` show."""

from collections.abc import Iterable

from rich.table import Table

from pgfleet.console.pictures.parts import cell, table
from pgfleet.schema.printable import minute
from pgfleet.schema.rows.row import Row


def key_table(known: Iterable[Row]) -> Table:
    made = table("ID", "KEY", "USER", "ENDS", "LAST USED", "FOR", right=("ID",), fold=("USER", "FOR"))
    for row in known:
        ends = minute(row["expires_at"]) if row["expires_at"] else "never"
        used = minute(row["last_used_at"]) if row["last_used_at"] else "never"
        shown = (row["key_id"], f"{row['key_prefix']}...", row["username"], ends, used, row["description"])
        made.add_row(*(cell(text, "" if row["is_active"] else "dim") for text in shown))
    return made


def account_table(known: Iterable[Row]) -> Table:
    made = table(
        "ID", "E-MAIL", "NAME", "USERNAME", "ROLE", "SIGNS IN", "", right=("ID",), fold=("E-MAIL", "NAME", "USERNAME")
    )
    for row in known:
        role = f"{row['role']} (given)" if row["role_override"] else row["role"]
        state = "" if row["is_active"] else "inactive"
        shown = (row["id"], row["email"], row["full_name"], row["username"], role, signs_in(row), state)
        made.add_row(*(cell(text, "" if row["is_active"] else "dim") for text in shown))
    return made


def signs_in(row: Row) -> str:
    if row["issuers"]:
        return f"with {', '.join(row['issuers'])}"
    return "with a password" if row["has_password"] else "not yet"
