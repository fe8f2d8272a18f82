"""A command of ours in a pod's container: a shell script that is told its purpose, and what it wrote."""

from dataclasses import dataclass, field

from kubernetes import client

from pgfleet.workers.clients.kubernetes.exec import Bounds, output, upgraded
from pgfleet.workers.clients.kubernetes.names import CONTAINER


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands in the pods of one namespace; `timeout_s` is for each step of a connection."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    exec_api: client.CoreV1Api = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "exec_api", upgraded(self.api))

    def run(self, pod: str, script: str, purpose: str, bounds: Bounds, typed: str = "") -> str:
        """What a script wrote, which its user's programs may have written as well.

        `purpose` is the script's name for itself ($0), as lists of processes show it. `typed` is what it reads.

        Raises:
            TryAgainError: the pod can't be asked now.
        """
        written = output(
            lambda timeout_s: self.exec_api.connect_get_namespaced_pod_exec(  # type: ignore[arg-type, return-value]
                pod,
                self.namespace,
                command=["/bin/sh", "-c", script, purpose],
                container=CONTAINER,
                stdin=bool(typed),
                stdout=True,
                stderr=False,
                tty=False,
                _preload_content=False,
                _request_timeout=min(timeout_s, self.timeout_s),
            ),
            bounds,
            typed.encode(),
        )
        return written.decode("utf-8", "replace")
