"""No step and no statement asks another clock than the database's, so none can be compared with it."""

import re
from pathlib import Path

from worlds.fleet import REPOSITORY

# Of this machine; time.monotonic only says how long something took here.
OF_THE_HOST = re.compile(r"datetime\.(now|today|utcnow)\(|\btime\.time\(|\bdate\.today\(|\blocaltime\(")
# Of Kubernetes: what an API server or a kubelet says of when something was.
OF_KUBERNETES = re.compile(
    r"\b(creation_timestamp|last_transition_time|last_heartbeat_time|start_time|finished_at|event_time|last_timestamp"
    r"|creationTimestamp|lastTransitionTime|startTime|finishedAt|eventTime|lastTimestamp)\b"
)
# A start of the server is none of its promotions, and its time of the day moves on within a transaction.
OF_THE_SERVER = re.compile(r"pg_postmaster_start_time|clock_timestamp|localtimestamp|current_timestamp", re.IGNORECASE)
# Each file with how often, and why that compares nothing.
TOLD_ONLY = {"workers/runtime/inside/hangs.py": 1, "workers/runtime/inside/trouble.py": 1}
ORDERS_ONE_KUBELETS_WORDS = {"workers/clients/kubernetes/status/containers.py": 2}
THE_SERVERS_OWN_TRANSACTIONS = {"schema/doctor/queries.sql": 2}


def found(pattern: re.Pattern[str], *places: str) -> dict[str, int]:
    """How often each file has it, outside of comments."""
    files = [path for place in places for path in (REPOSITORY / place.split("*")[0]).rglob("*" + place.split("*")[1])]
    counts = {str(path.relative_to(REPOSITORY)): len(pattern.findall(code(path))) for path in files}
    return {name: count for name, count in counts.items() if count}


def code(path: Path) -> str:
    return re.sub(r"(?m)^\s*(--|#).*$", "", path.read_text("utf-8"))


def test_workers_and_what_they_share_ask_no_clock_of_their_host() -> None:
    assert found(OF_THE_HOST, "workers/*.py", "schema/*.py") == TOLD_ONLY


def test_workers_read_no_time_of_kubernetes() -> None:
    assert found(OF_KUBERNETES, "workers/clients/kubernetes/*.py", "workers/reservation/*.py") == (
        ORDERS_ONE_KUBELETS_WORDS
    )


def test_statements_ask_the_fleets_clock() -> None:
    assert found(OF_THE_SERVER, "schema/*.sql", "workers/*.sql") == THE_SERVERS_OWN_TRANSACTIONS
