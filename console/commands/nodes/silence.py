"""`pgfleet nodes believe` and `pgfleet clusters believe`: an operator knows that most nodes are gone."""

from pgfleet.console.connection import database
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import Refusal
from pgfleet.schema.replay.silence import believe
from pgfleet.schema.settings import read_settings


def believe_nodes(*, as_json: AsJson = False) -> None:
    """Mark silent nodes OFFLINE although most are silent at once. For operators.

    When most nodes fall silent together, we or the network are the likelier cause, and none of them is marked before
    three times the limit. This says that they are gone, and their history names who said so. One that is heard again
    comes back by itself.
    """
    _believe("node", as_json=as_json)


def believe_nodes_of_clusters(*, as_json: AsJson = False) -> None:
    """Mark silent nodes of clusters offline although most are silent at once. For operators.

    As `pgfleet nodes believe` does. Clusters that one of them led get another leader where a node is fit to lead.
    """
    _believe("cluster_node", as_json=as_json)


def _believe(machine: str, *, as_json: bool) -> None:
    with database() as conn:
        sweep = believe(conn, machine, read_settings(), default_user())
    if sweep["held_back"] is not None:
        raise Refusal(f"No node was marked: {sweep['held_back']}.\nTry again when that is over.")
    if as_json:
        print_json(sweep)
    elif not sweep["silent"]:
        out().print(f"None of {sweep['alive']} nodes is silent.")
    else:
        rest = "" if sweep["marked"] == sweep["silent"] else "; the others at a later sweep, if they stay silent"
        out().print(f"{sweep['marked']} of {sweep['silent']} silent nodes were marked offline{rest}.")
