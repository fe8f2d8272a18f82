"""`pgfleet logs`: what the pod of a reservation wrote last, as it was kept when that ended."""

from pgfleet.console.commands.requests import Id
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.producers.submit.commands import AsJson, User
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.printable import harmless
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import FINAL


@example("pgfleet logs 3f2a9c1e")
def logs(given: Id, *, user: User = None, as_json: AsJson = False) -> None:
    """Show the last lines that a reservation's pod wrote before it ended: 200 of them, 16 KiB at most."""
    with database() as conn:
        row = reads.resolve(conn, given, user or default_user())
        kept = reads.logs(conn, row["reservation_id"])
    if as_json:
        print_json({"reservation_id": row["reservation_id"], "status": row["status"], "pod_logs": kept})
    elif kept:
        out().print(harmless(kept), soft_wrap=True)
    elif row["status"] in FINAL:
        err().print("nothing is kept: its pod wrote nothing, or nobody could read it any more")
    else:
        err().print(f"it is {row['status']}; what its pod wrote last is kept when it ends")
