"""Names of reservations in the domain of the settings, where there is one: for SSH and, by a load balancer, Jupyter.

The rows that others write DNS and load balancers by (005, 006) follow the reservation's own by a trigger (117).
"""

import re
from typing import Any

from pgfleet.schema.environment.fleet import pod_name
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings

# Of the 63 that a label may have, so many are for its name and its pod's mark.
LONGEST_NAME = 40


def named(row: Row, settings: Settings) -> dict[str, Any]:
    """The columns with its name; from the row alone, so that it is the same name however often it is made."""
    if settings.domain is None:
        return {}
    label = label_of(row, settings)
    return {"domain_name": label, "fqdn": f"{label}.{settings.domain}"}


def label_of(row: Row, settings: Settings) -> str:
    """What its user calls it, as far as a name may have that, and the mark of its pod, which nobody else has."""
    mark = pod_name(row.reservation_id, settings.fleet).rpartition("-")[2]
    said = re.sub("[^a-z0-9]+", "-", (row.name or row.user_id).lower())[:LONGEST_NAME].strip("-")
    return f"{said}-{mark}" if said else f"gpu-{mark}"
