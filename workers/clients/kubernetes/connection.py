"""The connection to the cluster that a worker serves, and how the worker signs in there.

Credentials change under a worker: a kubelet writes a new token, somebody replaces a certificate, what a program of the
kubeconfig gave runs out. Each request looks whether their files have changed. One that the server answers with 401 has
all of them read again, and is made once more if they are others by then.

The context stays that of the start, and the server that of the first good answer: `kubectl config use-context` must
not lead a worker to another cluster.
"""

import copy
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Self

import structlog
import yaml
from kubernetes import client, config
from kubernetes.client import rest
from kubernetes.config import ConfigException, incluster_config

from pgfleet.schema.errors import FleetError
from pgfleet.schema.settings import Settings

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BAD, UNAUTHORIZED = 400, 401
# The client's names for a token.
TOKEN, HEADER = "BearerToken", "authorization"
# What reading a kubeconfig, or a file that it names, can end in. Texts of most of them quote what was read.
UNREADABLE = (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError)
# After a 401 for which no others were found: a program of the kubeconfig may take seconds each time.
READ_AGAIN_S = 5.0
# Fields of a kubeconfig that name files.
OF_CLUSTERS = ("certificate-authority",)
OF_USERS = ("tokenFile", "client-certificate", "client-key")


@dataclass(frozen=True, slots=True)
class Source:
    """Where credentials come from: how they are read, and the files that they are in."""

    read: Callable[[], client.Configuration]
    files: Callable[[], list[Path]]


class Credentials:
    """How a worker signs in, kept in a configuration that its clients share.

    Attributes:
        version: another one after each change.
        reached: whether the server has let somebody in.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = Lock()
        self._files = source.files()
        self._stamp = _stamp(self._files)
        self._loaded = source.read()
        self._again_at = 0.0
        self.version = 0
        self.reached = False
        self.configuration = copy.deepcopy(self._loaded)
        self.configuration.refresh_api_key_hook = None
        self._take()

    def follow(self) -> None:
        """See to it that the credentials are those of their files, and have not run out."""
        with self._lock:
            if _stamp(self._files) != self._stamp:
                self._load()
            elif self._loaded.refresh_api_key_hook is not None:
                self._outlive()

    def renewed(self, refused: int) -> bool:
        """After a 401 for those of version `refused`: whether there are others."""
        with self._lock:
            if self.version == refused and time.monotonic() >= self._again_at:
                self._load()
                if self.version == refused:
                    self._again_at = time.monotonic() + READ_AGAIN_S
            return self.version != refused

    def _outlive(self) -> None:
        """Run the kubeconfig's program again if what it gave has run out."""
        try:
            hook: Any = self._loaded.refresh_api_key_hook
            hook(self._loaded)
        except UNREADABLE as error:
            log.warning("kubernetes.credentials_unreadable", error=type(error).__name__)
        self._take()

    def _load(self) -> None:
        # Looked at first: what changes while it is read is seen by the next request.
        stamp = _stamp(self._files)
        changed, self._stamp = stamp != self._stamp, stamp
        try:
            loaded = self._source.read()
            files = self._source.files()
        except UNREADABLE as error:
            log.warning("kubernetes.credentials_unreadable", error=type(error).__name__)
            return
        if self.reached and loaded.host != self.configuration.host:
            log.warning("kubernetes.other_server", server=loaded.host, stays=self.configuration.host)
            return
        if files != self._files:
            self._files, self._stamp = files, _stamp(files)
        if _signs(loaded) or not _signs(self.configuration):
            # Where there are none any more, a program has failed: its words are in the log.
            self._loaded = loaded
            self._take(changed=changed)

    def _take(self, *, changed: bool = False) -> None:
        """Have the clients use what was loaded. A certificate that is written anew has the same name."""
        mine, loaded = self.configuration, self._loaded
        # Editors end a file with a newline, which no header may have.
        token = " ".join((loaded.api_key.get(TOKEN) or loaded.api_key.get(HEADER) or "").split())
        before = (mine.api_key.get(TOKEN), mine.cert_file, mine.key_file, mine.ssl_ca_cert)
        mine.host, mine.verify_ssl, mine.tls_server_name = loaded.host, loaded.verify_ssl, loaded.tls_server_name
        mine.api_key = {TOKEN: token} if token else {}
        mine.cert_file, mine.key_file, mine.ssl_ca_cert = loaded.cert_file, loaded.key_file, loaded.ssl_ca_cert
        if changed or before != (token or None, mine.cert_file, mine.key_file, mine.ssl_ca_cert):
            self.version += 1


class SignedClient(client.ApiClient):
    """Requests with the credentials of this moment; one that was not let in is made once more if there are new ones."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials.configuration)
        self.credentials = credentials
        self._connected = credentials.version

    def param_serialize(self, *given: Any, **named: Any) -> Any:
        """What is to be sent, and where: every generated method begins with it."""
        self.credentials.follow()
        return super().param_serialize(*given, **named)

    def call_api(
        self,
        method: Any,
        url: Any,
        header_params: Any = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> Any:
        request = partial(super().call_api, method, url)
        given = {"body": body, "post_params": post_params, "_request_timeout": _request_timeout}
        version = self._connect(self.credentials.version)
        answer: Any = request(self.signed(header_params), **given)
        if answer.status == UNAUTHORIZED and self.credentials.renewed(version):
            answer.read()  # which gives its connection back
            self._connect(self.credentials.version)
            answer = request(self.signed(header_params), **given)
        self.credentials.reached |= answer.status < BAD
        return answer

    @classmethod
    def beside(cls, other: client.ApiClient) -> Self:
        """One that signs in as the other does."""
        if isinstance(other, SignedClient):
            return cls(other.credentials)
        return cls(Credentials(Source(lambda: other.configuration, list)))

    def signed(self, headers: dict[str, str] | None) -> dict[str, str]:
        token = self.configuration.api_key.get(TOKEN)
        return {**(headers or {}), **({HEADER: token} if token else {})}

    def _connect(self, version: int) -> int:
        """Leave connections that were made with the certificates of another version."""
        if version != self._connected:
            self._connected = version
            self.rest_client = rest.RESTClientObject(self.configuration)
        return version


def credentials_of(settings: Settings) -> Credentials:
    """For the cluster that a worker serves: its kubeconfig if the settings name one, else the one it runs in.

    Raises:
        FleetError: neither can be used; the message says what to set, and nothing that is secret.
    """
    try:
        found = Credentials(_kubeconfig(settings.kubeconfig) if settings.kubeconfig else IN_CLUSTER)
    except UNREADABLE as error:
        said = str(error) if isinstance(error, ConfigException) else f"it can't be read ({type(error).__name__})"
        raise FleetError(
            f"No Kubernetes cluster to work with: {said}\n"
            "Set PGFLEET_KUBECONFIG to a kubeconfig file, or run the worker inside a cluster."
        ) from None
    found.configuration.retries = False
    # Those of steps, and beside them three streams of the watch with a list.
    found.configuration.connection_pool_maxsize = settings.effect_threads + 4
    return found


def _kubeconfig(path: str) -> Source:
    """A kubeconfig in its current context, or several with a colon between, as `kubectl` takes them."""
    contexts: Any = config.list_kube_config_contexts
    context = contexts(path)[1]["name"]
    return Source(partial(_read_kubeconfig, path, context), partial(_named_files, path))


def _read_kubeconfig(path: str, context: str) -> client.Configuration:
    configuration = client.Configuration()
    load: Any = config.load_kube_config
    load(path, context=context, client_configuration=configuration)
    return configuration


def _named_files(path: str) -> list[Path]:
    """The kubeconfig and all the files that it names."""
    files = []
    for kubeconfig in (Path(each).expanduser() for each in path.split(os.pathsep) if each):
        files.append(kubeconfig)
        files += [kubeconfig.parent / name for name in _names(kubeconfig)]
    return files


def _names(kubeconfig: Path) -> Iterator[str]:
    document = yaml.safe_load(kubeconfig.read_text("utf-8")) if kubeconfig.is_file() else None
    for many, one, fields in (("clusters", "cluster", OF_CLUSTERS), ("users", "user", OF_USERS)):
        for entry in (document or {}).get(many) or []:
            yield from (entry[one][field] for field in fields if (entry.get(one) or {}).get(field))


def _read_in_cluster() -> client.Configuration:
    configuration = client.Configuration()
    load: Any = config.load_incluster_config
    load(client_configuration=configuration, try_refresh_token=False)
    return configuration


def _service_account() -> list[Path]:
    return [Path(incluster_config.SERVICE_TOKEN_FILENAME), Path(incluster_config.SERVICE_CERT_FILENAME)]


IN_CLUSTER = Source(_read_in_cluster, _service_account)


def _signs(configuration: client.Configuration) -> bool:
    return bool(configuration.api_key or configuration.cert_file)


def _stamp(files: list[Path]) -> list[tuple[int, int, int] | None]:
    """What changes when one of the files does. A kubelet swaps a symlink, which is followed."""
    return [_stat(file) for file in files]


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
