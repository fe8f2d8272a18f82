"""What the users of a cluster use right now: its Kubernetes metrics and GPUs, through the cluster's own kubeconfig.

No error, text or traceback of this module holds anything of the kubeconfig; nor what a server says, which may repeat
a token.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from kubernetes import client
from kubernetes.client.exceptions import ApiException, OpenApiException
from kubernetes.utils.quantity import parse_quantity
from urllib3.exceptions import HTTPError

from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.bodies import BoundedClient
from pgfleet.workers.clients.kubernetes.kubeconfig import read_kubeconfig
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

# Whose pod it is: the Hopsworks username.
USERNAME = "hopsworks.ai/username"
GPU = "nvidia.com/gpu"
METRICS = ("metrics.k8s.io", "v1beta1", "pods")
PAGE = 500
ANSWER_BYTES = 32 * 1024 * 1024
MOST_PAGES = 100
# More of anything than one pod can have.
MOST = Decimal(10**6)
# A second request would be answered in the same way.
NEVER = frozenset({400, 401, 403, 404, 405, 406, 415, 422})

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Use:
    cpu_cores: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Measures clusters, for the threads of one process."""

    timeout_s: float

    def measure(self, kubeconfig: str) -> dict[str, Use]:
        """What pods use now, by Hopsworks username; `kubeconfig` is a document, not a path.

        Raises:
            NeverError: the kubeconfig can't be used, or the server refuses it or has no metrics.
            TryAgainError: the server does not answer.
        """
        place = read_kubeconfig(kubeconfig)
        with TemporaryDirectory(prefix="pgfleet-") as folder:
            configuration = place.configuration(Path(folder))
            with BoundedClient(configuration, ANSWER_BYTES, 3 * self.timeout_s) as api:
                cpu_cores = _cpu_cores(client.CustomObjectsApi(api), self.timeout_s)
                gpus = _gpus(client.CoreV1Api(api), self.timeout_s)
        return {
            name: Use(float(cpu_cores.get(name, 0)), float(gpus.get(name, 0))) for name in sorted({*cpu_cores, *gpus})
        }


@contextmanager
def connected(settings: Settings) -> Iterator[Usage]:
    """Connections are made cluster by cluster: there is nothing to open yet."""
    yield Usage(settings.kubernetes_timeout_s)


def _cpu_cores(api: client.CustomObjectsApi, timeout_s: float) -> dict[str, Decimal]:
    """What containers use, by username, from the metrics API, which has no pages."""
    listed: Any = _asked(
        "metrics of its pods",
        lambda: api.list_cluster_custom_object(*METRICS, label_selector=USERNAME, _request_timeout=timeout_s),
    )
    return _sensible("metrics of its pods", lambda: _sum(_used(item) for item in listed["items"]))


def _used(item: Any) -> tuple[str, Decimal]:
    name = item["metadata"]["labels"][USERNAME]
    return name, sum((_amount(container["usage"].get("cpu", 0)) for container in item["containers"]), Decimal(0))


def _gpus(api: client.CoreV1Api, timeout_s: float) -> dict[str, Decimal]:
    """What running pods have, by username: a GPU is in use while a pod has it, busy or not."""
    total: dict[str, Decimal] = defaultdict(Decimal)
    more: str | None = None
    for _ in range(MOST_PAGES):
        page = _asked(
            "list of its pods",
            lambda: api.list_pod_for_all_namespaces(
                label_selector=USERNAME,
                field_selector="status.phase=Running",
                limit=PAGE,
                _continue=more,  # noqa: B023  # called before the next page
                _request_timeout=timeout_s,
            ),
        )
        for name, gpus in _sensible("list of its pods", lambda: _sum(map(_held, page.items)).items()):  # noqa: B023
            total[name] += gpus
        more = page.metadata.var_continue if page.metadata else None
        if not more:
            return total
    raise NeverError(f"the list of its pods goes on after {MOST_PAGES} pages")


def _held(pod: Any) -> tuple[str, Decimal]:
    limits = [(container.resources.limits if container.resources else None) or {} for container in pod.spec.containers]
    return pod.metadata.labels[USERNAME], sum((_amount(limit.get(GPU, 0)) for limit in limits), Decimal(0))


def _sum(amounts: Any) -> dict[str, Decimal]:
    total: dict[str, Decimal] = defaultdict(Decimal)
    for name, amount in amounts:
        total[name] += amount
    return total


def _amount(quantity: Any) -> Decimal:
    """`250m`, `123456789n`, `1.5`, `2k`, exactly."""
    amount: Decimal = parse_quantity(quantity)  # type: ignore[no-untyped-call]
    if not amount.is_finite() or not 0 <= amount <= MOST:
        raise ValueError("no pod uses so much")
    return amount


def _asked(what: str, call: Callable[[], R]) -> R:
    """An answer, or our own words: the client's errors carry requests, answers and addresses."""
    try:
        return call()
    except ApiException as error:
        problem = _refused(what, error.status or 0)
    except HTTPError as error:
        problem = TryAgainError(f"Kubernetes did not answer for the {what}: {type(error).__name__}")
    except (OpenApiException, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        problem = _no_sense(what)
    raise problem from None


def _refused(what: str, status: int) -> NeverError | TryAgainError:
    if status == 0:
        return NeverError(f"Kubernetes was not asked for the {what}: its certificate, or ours, is not accepted")
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    text = f"Kubernetes answered {status} {phrase}".rstrip() + f" to the question for the {what}"
    return NeverError(text) if status in NEVER else TryAgainError(text)


def _sensible(what: str, read: Callable[[], R]) -> R:
    try:
        return read()
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
        raise _no_sense(what) from None


def _no_sense(what: str) -> NeverError:
    return NeverError(f"Kubernetes answered with something that is no {what}")
