"""What a Kubernetes API server is asked about nobody: does it answer, would it let us make and delete?"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from pgfleet.workers.clients.kubernetes.plain import plain_keys, plain_pod, plain_service
from pgfleet.workers.clients.kubernetes.template.reading import Template
from pgfleet.workers.runtime.outcomes import Calls, NoPlaceError

DRY_RUN = "All"


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks through a client that no breaker stops; nothing is made or deleted.

    Raises:
        NotNowError: these calls are not answered, or would be refused to everybody.
    """

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    template: Template

    def __call__(self, calls: Calls) -> None:
        asked = {Calls.READ: self._read, Calls.MAKE: self._make, Calls.DELETE: self._delete}
        try:
            asked[calls]()
        except (ApiException, NoPlaceError):
            # An answer about what was asked, such as 404 for what is not there: it answers.
            return

    def would_make(self, pod: dict[str, Any]) -> None:
        """Ask whether this pod, which is nobody's, would be made. Raises what it would be refused with."""
        self._dry_run(self.api.create_namespaced_pod, client.V1Pod.model_validate(pod))

    def _read(self) -> None:
        self.api.list_namespaced_pod(self.namespace, limit=1, _request_timeout=self.timeout_s)

    def _make(self) -> None:
        self.would_make(plain_pod(self.template))
        service, keys = plain_service(self.namespace), plain_keys(self.namespace)
        self._dry_run(self.api.create_namespaced_service, client.V1Service.model_validate(service))
        self._dry_run(self.api.create_namespaced_config_map, client.V1ConfigMap.model_validate(keys))

    def _delete(self) -> None:
        nobody = f"gpu-dev-nobody-{secrets.token_hex(5)}"
        self.api.delete_namespaced_pod(nobody, self.namespace, dry_run=DRY_RUN, _request_timeout=self.timeout_s)

    def _dry_run(self, create: Callable[..., Any], body: Any) -> None:
        create(self.namespace, body, dry_run=DRY_RUN, _request_timeout=self.timeout_s)
