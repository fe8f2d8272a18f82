"""The checks of the standard `baseline` of Pod Security, in the words of Kubernetes; not those of Windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object

CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)


def _capabilities(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    bad = [each for each in containers if set(capability(each).get("add") or ()) - CAPABILITIES]
    if bad:
        names = sorted({name for each in bad for name in capability(each)["add"]} - CAPABILITIES)
        what = f"{named('container', bad)} must not include {_quoted(names)} in securityContext.capabilities.add"
        yield f"non-default capabilities ({what})"


def _host_namespaces(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    shared = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if shared:
        yield f"host namespaces ({', '.join(f'{name}=true' for name in shared)})"


def _host_paths(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    volumes = [volume for volume in spec.get("volumes") or () if "hostPath" in volume]
    if volumes:
        yield f"hostPath volumes ({named('volume', volumes)})"


def _host_ports(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    used = [(each, str(port["hostPort"])) for each in containers for port in each.get("ports") or () if _on_host(port)]
    bad = [each for each in containers if any(each is user for user, _ in used)]
    if bad:
        ports = sorted({port for _, port in used})
        use = "uses" if len(bad) == 1 else "use"
        yield f"hostPort ({named('container', bad)} {use} hostPort{'s' * (len(ports) > 1)} {', '.join(ports)})"


def _privileged(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    bad = [each for each in containers if security(each).get("privileged")]
    if bad:
        yield f"privileged ({named('container', bad)} must not set securityContext.privileged=true)"


def _proc_mount(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    bad = [each for each in containers if security(each).get("procMount", "Default") != "Default"]
    if bad:
        mounts = sorted({security(each)["procMount"] for each in bad})
        yield f"procMount ({named('container', bad)} must not set securityContext.procMount to {_quoted(mounts)})"


def _seccomp(spec: Object, containers: list[Object]) -> Iterator[str]:
    bad = [each for each in containers if profile(each) == "Unconfined"]
    who = ["pod"] * (profile(spec) == "Unconfined") + ([named("container", bad)] if bad else [])
    if who:
        what = 'must not set securityContext.seccompProfile.type to "Unconfined"'
        yield f"seccompProfile ({' and '.join(who)} {what})"


def _sysctls(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    names = sorted({each["name"] for each in security(spec).get("sysctls") or ()} - SYSCTLS)
    if names:
        yield f"forbidden sysctls ({', '.join(names)})"


Check = Callable[["Object", list[Any]], Iterable[str]]
BASELINE: tuple[Check, ...] = (_host_namespaces, _host_paths, _host_ports, _privileged, _proc_mount, _sysctls)
# `restricted` asks for more of the same, and says it once.
REPLACED_BY_RESTRICTED: tuple[Check, ...] = (_capabilities, _seccomp)


def named(word: str, things: list[Object]) -> str:
    plural = word if len(things) == 1 else f"{word}s"
    return f"{plural} {_quoted(each['name'] for each in things)}"


def security(owner: Object) -> Object:
    return owner.get("securityContext") or {}


def capability(container: Object) -> Object:
    return security(container).get("capabilities") or {}


def profile(owner: Object) -> str | None:
    found: str | None = (security(owner).get("seccompProfile") or {}).get("type")
    return found


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _on_host(port: Object) -> bool:
    return bool(port.get("hostPort"))
