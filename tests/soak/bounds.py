"""How far each measure may drift from where it was when all was warm."""

from math import inf

from soak.slopes import Bound

MIB = 2**20
# What is let go whole days at a time, and the rows that are never let go: they grow by what comes.
GROWING = (
    r"(autoscaler\.(node_heartbeats|metrics|pool_analytics)|heartbeat_ids|reservations|\bdisks|disk_snapshots|"
    r"audit_logs|node_lifecycle_logs|schema_migrations|gpu_usage|usage|a_[a-z_]+)$"
)


def bounds(loose: float = 1) -> list[Bound]:
    """Of all that is judged; `loose` times as far for a run that is too short to tell."""
    return [
        Bound(share=share * loose, least=least * loose, of=of, unit=unit)
        for of, unit, share, least in (
            # Its window of the newest 20,000 events fills, at 4 KiB each at most (workers/event/window.py).
            ("^memory of event-worker", "MB", 0, 80),
            ("^memory of ", "MB", 0.05, 6),
            ("^open files of ", "", 0.1, 3),
            ("^threads of ", "", 0.1, 2),
            # A rush opens some in the pools of eight processes; each is kept for ten minutes (schema/database/pool.py).
            ("^sessions$", "", 0.05, 6),
            (f"^bytes (of|of indexes of) .*{GROWING}", "bytes", 0, inf),
            (f"^bytes a row of .*{GROWING}", "bytes", 0.15, 50),
            ("^bytes a row of ", "bytes", 0, inf),
            (r"^dead rows of .*q_", "rows", 0.5, 300),
            ("^dead rows of ", "rows", 0.5, 1000),
            (r"^bytes of (indexes of |index )?pgmq\.q_", "bytes", 0.25, 128 * 1024),
            ("^bytes of ", "bytes", 0.3, 512 * 1024),
            ("^due in the queue", "messages", 0.5, 10),
            ("^seconds that the oldest is due", "s", 0.5, 2),
            ("^WAL, ", "bytes/s", 0.3, 20_000),
            ("^kept of (status_history|disk_operations)", "rows", 0.3, 300),
            ("^age of the oldest of ", "s", 0.3, 60),
            ("p50 ms$", "ms", 0.5, 5),
            ("p99 ms$", "ms", 1.0, 30),
        )
    ]
