"""The watch of a reservation worker, from its start to its end."""

from collections.abc import Iterator
from contextlib import contextmanager

from pgfleet.workers.clients.kubernetes.watch.events import all_events
from pgfleet.workers.clients.kubernetes.watch.nodes import Nodes
from pgfleet.workers.clients.kubernetes.watch.watcher import Watcher
from pgfleet.workers.reservation.cluster.book import Book
from pgfleet.workers.reservation.cluster.followers import NodeFollower, PodFollower, ServiceFollower
from pgfleet.workers.reservation.cluster.looker import Looker
from pgfleet.workers.reservation.cluster.telling import EventFollower
from pgfleet.workers.reservation.tools import Tools
from pgfleet.workers.runtime.running import Running

STOP_S = 1.0


@contextmanager
def watching(running: Running) -> Iterator[None]:
    """Follow pods, services, nodes and events, and look at all nodes now and then; ends within a second."""
    threads = _threads(running.tools, Book(running))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop()
        for thread in threads:
            # One that is about to connect is left behind: it writes nothing any more.
            thread.join(STOP_S / len(threads))


def _threads(tools: Tools, book: Book) -> list[Watcher | Looker]:
    pods, seen = tools.pods, tools.pods.seen
    followed = (
        (pods.all_nodes(), NodeFollower(seen.nodes, book, pods.tolerations)),
        (pods.all_pods(), PodFollower(seen.pods, book, pods.namespace)),
        (pods.all_services(), ServiceFollower(seen.services, book)),
        (all_events(pods), EventFollower(pods, book)),
    )
    watchers = [Watcher(resource, follower, pods.timeout_s) for resource, follower in followed]
    nodes = Nodes(pods.api, pods.namespace, pods.timeout_s, pods.fleet, pods.tolerations)
    return [*watchers, Looker(nodes, book)]
