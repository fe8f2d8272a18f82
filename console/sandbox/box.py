"""A handle on a sandbox that runs: where it is, and its control endpoints as plain methods."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from pgfleet.console.sandbox.aws.handle import Aws
from pgfleet.console.sandbox.orders import ask

KUBERNETES = "^/(api|apis|version|readyz|livez|healthz)(/|$)"
FOR_EVER = 10**9  # times


@dataclass(frozen=True, slots=True)
class Box:
    """The same for a sandbox in a thread and for one in a process of its own."""

    url: str
    kubeconfig: str  # path of a file
    aws_url: str | None = None  # where there is an AWS too

    @property
    def aws(self) -> Aws:
        """Raises `ValueError` if the sandbox was started without."""
        if self.aws_url is None:
            raise ValueError("this sandbox has no AWS: start it with one")
        return Aws(self.aws_url)

    @property
    def aws_environment(self) -> dict[str, str]:
        """The variables that lead AWS's libraries to the sandbox's AWS; empty where there is none."""
        return {} if self.aws_url is None else self.aws.environment

    @property
    def ssh_keys_url(self) -> str:
        """The public keys of a user are at `<this>/<user>.keys`."""
        return f"{self.url}/ssh-keys"

    def add_nodes(self, gpu_type: str, count: int = 1, gpus: int = 8, **machine: Any) -> list[str]:
        """The new nodes' names; `machine` are a node's other fields, as in `nodes.NodeGroup`."""
        group = {"gpu_type": gpu_type, "count": count, "gpus": gpus}
        names: list[str] = self._ask("POST", "nodes", group | machine)["nodes"]
        return names

    def fault(self, path: str, **wanted: Any) -> None:
        """The next requests whose path matches the regular expression go wrong; fields as in `faults.Fault`."""
        self._ask("POST", "faults", {"path": path} | wanted)

    def outage(self, **wanted: Any) -> None:
        """All of Kubernetes goes wrong so, or drops every connection, until faults are cleared; watches break, too."""
        self.fault(KUBERNETES, **({"times": FOR_EVER} | (wanted or {"drop": True})))
        self.watches("drop")

    def clear_faults(self) -> None:
        self._ask("DELETE", "faults")

    def watches(self, what: str) -> None:
        """Do this to all open watches: `cut`, `drop`, `expire`, `stall`, `resume` or `bookmark`; see `Watchers`."""
        self._ask("POST", f"watches/{what}")

    def forget_history(self) -> None:
        """Whoever has seen less than what there is now is told that its version is too old."""
        self._ask("DELETE", "history")

    def rule(self, kind: str, **fields: Any) -> None:
        """Switch a rule of the cluster on; kinds and their fields as in `kubernetes/rules`, such as `quota`."""
        self._ask("POST", f"rules/{kind}", fields)

    def clear_rules(self, *kinds: str) -> None:
        """Switch off these, or all."""
        self._ask("DELETE", "/".join(("rules", *kinds)))

    def behave(self, namespace: str, name: str, behaviour: str) -> None:
        self._ask("POST", f"pods/{namespace}/{name}", {"behave": behaviour})

    def starts(self, start: str, **wanted: Any) -> None:
        """The next pod starts so; fields as in `starts.Order`: `pods`, `nodes`, `times` and `trouble_s`."""
        self._ask("POST", "starts", {"start": start} | wanted)

    def clear_starts(self) -> None:
        self._ask("DELETE", "starts")

    def node(self, name: str, **wanted: Any) -> None:
        """A node is `silent` or not, not `ready`, under `pressure` (memory, disk, pid), its clock `clock_s` ahead."""
        self._ask("POST", f"nodes/{name}", wanted)

    def scheduler(self, *, down: bool) -> None:
        """While it is down, nothing at all is said of new pods."""
        self._ask("POST", "scheduler", {"down": down})

    def priority_class(self, name: str, value: int, **wanted: Any) -> None:
        """`wanted` are `preemptionPolicy` and `globalDefault`."""
        self._ask("POST", "priorities", {"name": name, "value": value} | wanted)

    def contents(
        self, namespace: str, name: str, content: str | bytes, delay_s: float = 0.0, failure: str = ""
    ) -> None:
        """A command in the pod writes this, with a pause in the middle; with a `failure` it ends in an error."""
        self._order(namespace, name, content, delay_s=delay_s, failure=failure)

    def use_gpus(self, namespace: str, name: str, *percent: int) -> None:
        """From now on `nvidia-smi` in the pod says that its GPUs are so busy; those of others are idle."""
        self._ask("POST", f"gpus/{namespace}/{name}", {"percent": percent})

    def commands(self, name: str) -> list[list[str]]:
        """The last commands that were run in pods of this name."""
        return [command for pod, command in self.state()["commands"] if pod == name]

    def command(self, namespace: str, name: str, command: str, content: str, failure: str = "") -> None:
        """The same of a command that is no listing, by its name for itself, such as pgfleet-jupyter-start."""
        self._order(namespace, name, content, delay_s=0.0, failure=failure, command=command)

    def _order(self, namespace: str, name: str, content: str | bytes, **wanted: Any) -> None:
        raw = content.encode() if isinstance(content, str) else content
        written = base64.b64encode(raw).decode()
        self._ask("POST", f"volumes/contents/{namespace}/{name}", {"content": written, **wanted})

    def log(
        self, namespace: str, name: str, content: str | bytes, *, previous: bool = False, more: bool = False
    ) -> None:
        """The pod's container has printed this, or its run before has; with `more` besides what it had printed."""
        raw = content.encode() if isinstance(content, str) else content
        wanted = {"content": base64.b64encode(raw).decode(), "previous": previous, "more": more}
        self._ask("POST", f"logs/{namespace}/{name}", wanted)

    def state(self) -> dict[str, Any]:
        """Objects and counters; `attachments` has the node of each volume, `attachment_log` all that led to it."""
        return self._ask("GET", "state")

    def hopsworks(self, name: str, api_key: str | None = None, latency_s: float = 0.0) -> str:
        """The `api_url` of a Hopsworks cluster, made or changed; without a key it keeps its own, `sandbox` at first.

        Every answer takes `latency_s`, which passes after the request has been carried out.
        """
        wanted = {"latency_s": latency_s} | ({"api_key": api_key} if api_key else {})
        self._ask("POST", f"hopsworks/{name}", wanted)
        return f"{self.url}/hopsworks/{name}"

    def hopsworks_state(self, name: str) -> dict[str, Any]:
        """Its `users`, and how many `requests`, `refused_keys`, `posts`, `created` and `double_creations` it saw."""
        return self._ask("GET", f"hopsworks/{name}")

    def hopsworks_put(self, name: str, email: str, **fields: Any) -> dict[str, Any]:
        """Make an account as another program would; fields as the API shows them, and `subject`. Returns its item."""
        return self._ask("POST", f"hopsworks/{name}/users", {"email": email} | fields)

    def hopsworks_forget(self, name: str, email: str) -> None:
        """Delete the account as another program would."""
        self._ask("DELETE", f"hopsworks/{name}/users", {"email": email})

    def _ask(self, method: str, path: str, document: Any = None) -> dict[str, Any]:
        answered: dict[str, Any] = ask(self.url, method, path, document)
        return answered
