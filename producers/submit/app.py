"""What `pgfleet submit` can send: one command a kind."""

import typer

from pgfleet.producers.submit.assignment import ASSIGNMENT_EXAMPLE, submit_assignment
from pgfleet.producers.submit.disk import DISK_EXAMPLE, submit_disk
from pgfleet.producers.submit.heartbeat import EXAMPLE, submit_heartbeat
from pgfleet.producers.submit.reservation import RESERVATION_EXAMPLE, submit_reservation

app = typer.Typer(
    help="Send a message. A worker does the rest.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def submit() -> None:
    """Send a message. A worker does the rest."""


app.command("reservation", epilog=RESERVATION_EXAMPLE, no_args_is_help=True)(submit_reservation)
app.command("disk", epilog=DISK_EXAMPLE, no_args_is_help=True)(submit_disk)
app.command("heartbeat", epilog=EXAMPLE, no_args_is_help=True)(submit_heartbeat)
app.command("assignment", epilog=ASSIGNMENT_EXAMPLE, no_args_is_help=True)(submit_assignment)
