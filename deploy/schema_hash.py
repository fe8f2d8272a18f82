"""Keeps the name of the migration job in step with the SQL files: `python deploy/schema_hash.py [--check]`."""  # noqa: INP001  # a script

import hashlib
import sys
from pathlib import Path

from pgfleet.schema.database.catalog import sql_files

# Helm reads no files outside of the chart.
HASH = Path(__file__).parent / "chart" / "files" / "schema.sha256"


def schema_hash() -> str:
    """Eight digits that change when a SQL file is added, removed, renamed or edited."""
    listing = "".join(f"{file.version} {file.checksum}\n" for file in sql_files())
    return hashlib.sha256(listing.encode()).hexdigest()[:8]


def main() -> None:
    wanted = f"{schema_hash()}\n"
    if HASH.exists() and HASH.read_text("utf-8") == wanted:
        return
    if "--check" in sys.argv[1:]:
        sys.exit(f"{HASH} has the hash of another schema: run make generated")
    HASH.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
