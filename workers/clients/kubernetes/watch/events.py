"""Events of a namespace, to be watched: what schedulers, kubelets and controllers tell of what is in it."""

from pgfleet.workers.clients.kubernetes.pods import Pods
from pgfleet.workers.clients.kubernetes.watch.watcher import Resource


def all_events(pods: Pods) -> Resource:
    """Those of the namespace of the pods; most are about pods."""
    return Resource("events", "CoreV1Event", pods.api.list_namespaced_event, (pods.namespace,))
