"""Keeps the name of the migration job in step with the SQL files: `python deploy/schema_hash.py [--check]`."""  # noqa: INP001  # a script

import hashlib
import re
import sys
from pathlib import Path

from pgfleet.schema.database.catalog import sql_files

KUSTOMIZATION = Path(__file__).parent / "base" / "migrate" / "kustomization.yaml"


def schema_hash() -> str:
    """Eight digits that change when a SQL file is added, removed, renamed or edited."""
    listing = "".join(f"{file.version} {file.checksum}\n" for file in sql_files())
    return hashlib.sha256(listing.encode()).hexdigest()[:8]


def main() -> None:
    before = KUSTOMIZATION.read_text("utf-8")
    after = re.sub(r"(?m)^nameSuffix: .*$", f'nameSuffix: "-{schema_hash()}"', before)
    if after == before:
        return
    if "--check" in sys.argv[1:]:
        sys.exit(f"{KUSTOMIZATION} has the hash of another schema: run python deploy/schema_hash.py")
    KUSTOMIZATION.write_text(after, "utf-8")


if __name__ == "__main__":
    main()
