"""What goes with a reservation's pod, made where it is missing: its users' SSH keys, its service, what its gang has."""

from collections.abc import Mapping

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.manifest import keys_body
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.reservation.gang.network import connect
from pgfleet.workers.reservation.keys import keys_of, without_keys
from pgfleet.workers.reservation.pod.reaching import service_of
from pgfleet.workers.reservation.tools import Turn


def complete(row: Row, pod: PodState, turn: Turn, keys: Mapping[str, list[str]] | None = None) -> int | None:
    """Make what goes with a pod, where it is missing: its users' SSH keys and its service; the service's port.

    `keys` are those that the pod was made with, where they are known. The pod has to be there before: it owns both.

    Raises:
        NoKeysError: they are missing, and there are none to let in.
    """
    pods, namespace = turn.tools.pods, turn.tools.settings.namespace
    of_gang = connect(row, pod, turn) if row.is_multinode else ()
    if keys is not None or not pods.has_keys(pod.name, pod.uid):
        found = keys_of(row, turn) if keys is None else keys
        every = [*(key for of_user in found.values() for key in of_user), *of_gang]
        body = keys_body(row, pod.uid, every, namespace, without_keys(found))
        turn.hold()
        pods.create_keys(body)
    service, _ = service_of(row, pod, turn)
    return service.node_port
