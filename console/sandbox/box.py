"""A handle on a sandbox that runs: where it is, and its control endpoints as plain methods."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from pgfleet.console.sandbox.aws.handle import Aws
from pgfleet.console.sandbox.orders import ask


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
        """The variables that make AWS's libraries use it; none without."""
        return {} if self.aws_url is None else self.aws.environment

    @property
    def ssh_keys_url(self) -> str:
        """`<this>/<user>.keys` are a user's keys."""
        return f"{self.url}/ssh-keys"

    def add_nodes(self, gpu_type: str, count: int = 1, gpus: int = 8, **machine: Any) -> list[str]:
        """The new nodes' names; `machine` are a node's `cpu`, `memory_gb` and `zone`."""
        group = {"gpu_type": gpu_type, "count": count, "gpus": gpus}
        names: list[str] = self._ask("POST", "nodes", group | machine)["nodes"]
        return names

    def fault(self, path: str, **wanted: Any) -> None:
        """The next `times` requests whose path holds the regular expression; fields as in `faults.Fault`."""
        self._ask("POST", "faults", {"path": path} | wanted)

    def clear_faults(self) -> None:
        self._ask("DELETE", "faults")

    def behave(self, namespace: str, name: str, behaviour: str) -> None:
        self._ask("POST", f"pods/{namespace}/{name}", {"behave": behaviour})

    def contents(
        self, namespace: str, name: str, content: str | bytes, delay_s: float = 0.0, failure: str = ""
    ) -> None:
        """What a command in the pod writes, with a pause in its middle; with a `failure` it ends in one."""
        raw = content.encode() if isinstance(content, str) else content
        wanted = {"content": base64.b64encode(raw).decode(), "delay_s": delay_s, "failure": failure}
        self._ask("POST", f"volumes/contents/{namespace}/{name}", wanted)

    def detach_slowly(self, delay_s: float) -> None:
        """From now on, volumes stay attached to their node for so long after their last pod is gone."""
        self._ask("POST", "volumes/detaching", {"delay_s": delay_s})

    def state(self) -> dict[str, Any]:
        """What there is and what was done; `attachments` are nodes by volume, `attachment_log` how it came to that."""
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
        """An account that somebody else made; fields as the API shows them, and `subject`. The item."""
        return self._ask("POST", f"hopsworks/{name}/users", {"email": email} | fields)

    def hopsworks_forget(self, name: str, email: str) -> None:
        """The account is deleted behind everybody's back."""
        self._ask("DELETE", f"hopsworks/{name}/users", {"email": email})

    def _ask(self, method: str, path: str, document: Any = None) -> dict[str, Any]:
        answered: dict[str, Any] = ask(self.url, method, path, document)
        return answered
