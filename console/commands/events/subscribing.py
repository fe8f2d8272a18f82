"""`pgfleet subscribe` and `pgfleet unsubscribe`: have events sent to an address, and no more of them."""

import sys
from typing import Annotated

import typer

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.showing import print_result
from pgfleet.producers import event as producer
from pgfleet.producers.submit.commands import AsJson, User
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.feed.known import refuse_strange
from pgfleet.schema.reads.event.subscription import resolve

Id = Annotated[str, typer.Argument(metavar="ID", help="A subscription's id, or the beginning of it.")]
FROM_STDIN = "-"
OPTIONS = {
    "machines": "--machine",
    "states": "--state",
    "row_id": "--row",
    "of_user": "--of-user",
    "format": "--format",
    "url": "URL",
}


@example("pgfleet subscribe https://chat.example/hook --format slack --machine reservation --state warned")
def subscribe(  # noqa: PLR0913  # one parameter an option
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent; - reads it from stdin.")],
    *,
    machine: Annotated[list[str] | None, typer.Option(help="Events of this machine; as often as needed.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Of this state, or notice; as often as needed.")] = None,
    row: Annotated[str | None, typer.Option(metavar="ID", help="Events of one row.")] = None,
    of_user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Events of one user's rows; for operators.")
    ] = None,
    written_as: Annotated[str, typer.Option("--format", help="cloudevents, slack or teams.")] = "cloudevents",
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Have events sent to an address from now on: whatever you may see, or what the options leave of it.

    Machines: reservation, disk, disk_snapshot, disk_operation, assignment, subscription, dead_letter. For operators
    besides: node, cluster, cluster_node, hopsworks_cluster, outage, sweep.

    States are those that rows move to, such as active and failed of a reservation; rejected, failed, replayed and
    discarded of a dead_letter; OFFLINE of a node; full of a hopsworks_cluster; open and over of an outage; held of a
    sweep. Notices are told of rows that stay where they are: warned (it ends soon, or nobody uses it) and released of
    a reservation, failover and coordinator_changed of a cluster.

    Prints the secret that deliveries are signed with, as Standard Webhooks has it. It is shown this once.
    """
    with database() as conn, named_as_options(OPTIONS):
        refuse_strange(conn, machine, state)
        made = producer.subscribe(
            user or default_user(),
            address_of(url),
            conn,
            machines=machine,
            states=state,
            row_id=row,
            of_user=of_user,
            format=written_as,
        )
    print_made(made.subscription_id, made.secret, as_json=as_json)


def address_of(given: str) -> str:
    """What is secret of it need not be in a history of commands."""
    return sys.stdin.readline().strip() if given == FROM_STDIN else given


def print_made(subscription_id: str, secret: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"subscription_id": subscription_id, "secret": secret, "result": "sent"})
        return
    out().print(f"{subscription_id} sent")
    out().print(f"secret: {secret}", soft_wrap=True)
    err().print("The secret is not shown again. Whether the address may be reached: pgfleet subscriptions", style="dim")


@example("pgfleet unsubscribe 3f2a9c1e")
def unsubscribe(given: Id, *, user: User = None, as_json: AsJson = False) -> None:
    """Have nothing more sent. `pgfleet subscriptions resume` goes on where it was."""
    owner = user or default_user()
    with database() as conn:
        row = resolve(conn, given, owner)
        producer.unsubscribe(row["subscription_id"], owner, conn)
    print_result("subscription_id", row["subscription_id"], "unsubscribe sent", as_json=as_json)
