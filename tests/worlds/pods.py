"""Pods and nodes as a test wants them: whatever a scheduler, a kubelet or a controller may write into their status."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kubernetes import client, config

from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import Connection, Worker, move_clock, row_of, settings_for, until, worker_on
from worlds.reservations import create, status_of

NAMESPACE = "gpu-dev"
CONTAINER = "gpu-dev"
STARTED = "2026-01-01T00:00:00Z"
# What the cluster does by itself comes so late that it does not come.
NEVER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Outside:
    """One cluster whose kubelets and controllers are the test."""

    conn: Connection
    worker: Worker
    box: Box
    api: client.CoreV1Api

    def placed(self, **fields: Any) -> str:
        """A new reservation whose pod is on a node, and does not start by itself."""
        row_id = self.preparing(**fields)
        until(lambda: self.pod(row_id).status.container_statuses, within_s=20, what="the pod's node")
        return row_id

    def preparing(self, **fields: Any) -> str:
        row_id = create(self.conn, **fields)
        self.worker.run_until(lambda: status_of(self.conn, row_id) == "preparing" and self.pods(row_id))
        return row_id

    def active(self, **fields: Any) -> str:
        row_id = self.placed(**fields)
        self.runs(row_id)
        self.worker.run_until(lambda: status_of(self.conn, row_id) == "active")
        return row_id

    def row(self, row_id: str) -> dict[str, Any]:
        return row_of(self.conn, row_id)

    def shown(self, row_id: str) -> str:
        return str(self.row(row_id)["current_detailed_status"])

    def look(self, row_id: str, words: str) -> str:
        """Looks until these words are shown; all that is shown."""
        self.worker.run_until(lambda: words in self.shown(row_id))
        return self.shown(row_id)

    def pods(self, row_id: str) -> list[Any]:
        listed: list[Any] = self.api.list_namespaced_pod(NAMESPACE).items
        return [pod for pod in listed if pod.metadata.annotations["pgfleet/reservation-id"] == row_id]

    def pod(self, row_id: str) -> Any:
        return self.pods(row_id)[0]

    def runs(self, row_id: str, *, ready: bool = True) -> None:
        self.container(row_id, {"running": {"startedAt": STARTED}}, phase="Running", ready=ready)

    def waits(self, row_id: str, reason: str, message: str = "") -> None:
        self.container(row_id, {"waiting": {"reason": reason, "message": message}})

    def pulls(self, row_id: str) -> None:
        """Its kubelet says that it has come to the image."""
        self.says(row_id, "Pulling", 'Pulling image "acme/train:1"')

    def says(self, row_id: str, reason: str, message: str) -> None:
        """An event about its pod."""
        about = self.pod(row_id).metadata
        body: Any = {
            "metadata": {"generateName": "said-"},
            "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": about.name, "uid": about.uid},
            "reason": reason,
            "message": message,
            "type": "Normal" if reason == "Pulling" else "Warning",
        }
        self.api.create_namespaced_event(NAMESPACE, body)

    def crashes(self, row_id: str, times: int, code: int = 3) -> None:
        """It waits to be started again after its last crash."""
        last = {"terminated": ended(code)}
        back_off = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
        self.container(row_id, back_off, phase="Running", last=last, restarts=times - 1)

    def ends(self, row_id: str, code: int, **status: Any) -> None:
        phase = "Failed" if code else "Succeeded"
        self.container(row_id, {"terminated": ended(code)}, phase=phase, **status)

    def container(  # what a kubelet writes of one
        self,
        row_id: str,
        state: dict[str, Any],
        *,
        phase: str = "Pending",
        ready: bool = False,
        last: dict[str, Any] | None = None,
        restarts: int = 0,
        **status: Any,
    ) -> None:
        one = {"name": CONTAINER, "image": "image", "imageID": "", "restartCount": restarts, "ready": ready}
        conditions = [condition(name, ready) for name in ("Ready", "ContainersReady")]
        statuses = [{**one, "state": state, "lastState": last or {}}]
        self.status(row_id, phase=phase, containerStatuses=statuses, conditions=conditions, **status)

    def status(self, row_id: str, **status: Any) -> None:
        self.api.patch_namespaced_pod_status(self.pod(row_id).metadata.name, NAMESPACE, {"status": status})

    def wrote(self, row_id: str, content: str | bytes) -> None:
        for previous in (False, True):
            self.box.log(NAMESPACE, self.pod(row_id).metadata.name, content, previous=previous)

    def service(self, row_id: str) -> str:
        return f"{self.pod(row_id).metadata.name}-ssh"

    def port(self, row_id: str) -> int:
        service: Any = self.api.read_namespaced_service(self.service(row_id), NAMESPACE)
        return int(service.spec.ports[0].node_port)

    def node_of(self, row_id: str) -> str:
        return str(self.pod(row_id).spec.node_name)

    def answers(self, row_id: str) -> None:
        """Ready again, its containers as they were."""
        self.status(row_id, conditions=[condition(name, True) for name in ("Ready", "ContainersReady")])

    def silent(self, row_id: str) -> None:
        """As a node's controller writes it: the pod is not ready any more, its containers are as they were."""
        self.node_says(self.node_of(row_id), "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
        self.status(row_id, conditions=[condition("Ready", False), condition("ContainersReady", True)])

    def taken(self, row_id: str, reason: str, message: str) -> None:
        """It is being deleted, and stays: its kubelet does not end it."""
        self.status(row_id, conditions=[condition("DisruptionTarget", True, reason=reason, message=message)])
        self.deleted(row_id)

    def deleted(self, row_id: str) -> None:
        """Seen so until its finalizer is taken away."""
        name = self.pod(row_id).metadata.name
        self.api.patch_namespaced_pod(name, NAMESPACE, {"metadata": {"finalizers": ["example.org/stays"]}})
        self.api.delete_namespaced_pod(name, NAMESPACE)

    def watched(self, row_id: str, seconds: float = 61) -> dict[str, Any]:
        """The row after its next looks, some time later."""
        move_clock(self.conn, seconds)
        self.worker.run()
        return self.row(row_id)

    def node_says(self, name: str, status: str, reason: str, message: str = "") -> None:
        said = condition("Ready", status == "True", status=status, reason=reason, message=message)
        self.api.patch_node_status(name, {"status": {"conditions": [said]}})


def condition(kind: str, holds: bool, **more: str) -> dict[str, Any]:  # noqa: FBT001  # as a condition is read
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": STARTED, **more}


def ended(code: int, **more: Any) -> dict[str, Any]:
    reason = "Error" if code else "Completed"
    return {"exitCode": code, "reason": reason, "startedAt": STARTED, "finishedAt": STARTED, "containerID": "c", **more}


@contextmanager
def outside(dsn: str, conn: Connection, *nodes: str, ending_s: float = 0.02, **settings: Any) -> Iterator[Outside]:
    """A cluster of these nodes, two of eight h100 if none is named, and a reservation worker on it."""
    slow: dict[str, Any] = {"ready_delay_s": NEVER_S, "termination_delay_s": ending_s, "scheduling_retry_s": NEVER_S}
    with (
        sandbox.running(list(nodes or ("h100:2x8",)), **slow) as box,
        worker_on(KIND, settings_for(dsn, box, **settings)) as worker,
    ):
        configuration = client.Configuration()
        config.load_kube_config(box.kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
        with client.ApiClient(configuration) as api:
            yield Outside(conn, worker, box, client.CoreV1Api(api))
