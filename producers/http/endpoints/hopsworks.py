"""`/v1/hopsworks-clusters`: load, health, and closing one to new users."""

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.sending import accepted, asked
from pgfleet.producers.http.shapes.assignments import HopsworksCluster, HopsworksClusterWhole
from pgfleet.producers.http.shapes.shown import Accepted, Page
from pgfleet.schema.assignment import QUEUE, Drain
from pgfleet.schema.errors import Refusal
from pgfleet.schema.reads import hopsworks as reads
from pgfleet.schema.rows.row import Row

PATH = "/v1/hopsworks-clusters"
ONE = f"{PATH}/{{id}}"
READ, WRITE = "hopsworks-clusters.read", "hopsworks-clusters.write"
MOST_FAILURES = 200


class Draining(Shape):
    """`move`: its users go elsewhere, as far as there is room."""

    move: bool = True


def found(call: Call) -> Row:
    """The cluster that the path names, by its id or its name, or the beginning of one that no other has.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return reads.resolve(call.conn, call.path["id"])
    except Refusal as error:
        raise NotFoundError(f"there is no Hopsworks cluster {call.path['id'][:60]}") from error


def list_hopsworks_clusters(call: Call) -> Answer:
    return Answer({"items": reads.listing(call.conn)})


def get_hopsworks_cluster(call: Call) -> Answer:
    row = found(call)
    more = {
        "waiting": reads.waiting(call.conn).get(row["id"], {}),
        "open_failures": reads.failures(call.conn, row["id"], MOST_FAILURES),
        "free_elsewhere": reads.free_elsewhere(call.conn, row["id"]),
    }
    return Answer({**row, **more})


def drain_hopsworks_cluster(call: Call) -> Answer:
    row = found(call)
    call.conn.execute("select hopsworks.close_to_users(%s)", (row["id"],))
    if call.given(Draining).move:
        asked(call, QUEUE, Drain, {"cluster_id": row["id"]})
    return accepted(row["id"], f"{PATH}/{row['id']}", row["name"])


ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        "Hopsworks clusters by name: load, health, who waits",
        READ,
        list_hopsworks_clusters,
        Page[HopsworksCluster],
    ),
    Endpoint(
        "GET",
        ONE,
        "One of them, with what is wrong with it",
        READ,
        get_hopsworks_cluster,
        HopsworksClusterWhole,
        refuses=(404,),
    ),
    Endpoint(
        "POST",
        f"{ONE}/drain",
        "Close it to new users; its users go elsewhere, as far as there is room",
        WRITE,
        drain_hopsworks_cluster,
        Accepted,
        Draining,
        status=202,
        audit=Audit("HOPSWORKS_CLUSTER_DRAINED", "SYSTEM", "hopsworks_cluster"),
        refuses=(404,),
        queue=QUEUE,
        example={"move": True},
    ),
)
