"""What every pod of a user is held to, whatever its image, its user and the template say (SPEC 2.1).

It is within the standard `baseline` of Pod Security. It can't be within `restricted`: sshd has to be root to become
whoever signs in.
"""

from typing import Any

# Of the 14 that a runtime gives by itself. Not NET_RAW, with which a pod can speak in the name of others; not MKNOD,
# SETFCAP and SETPCAP, which nothing here needs.
CAPABILITIES = (
    "AUDIT_WRITE",  # sshd of Red Hat ends a session that it can't write to the audit log
    "CHOWN",  # the terminal of a session; packages
    "DAC_OVERRIDE",  # root among the files of others: keys of a user, packages
    "FOWNER",
    "FSETID",
    "KILL",  # sessions of others
    "NET_BIND_SERVICE",  # port 22
    "SETGID",  # sshd becomes who signs in
    "SETUID",
    "SYS_CHROOT",  # sshd before somebody has signed in
)
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
    "seccompProfile": {"type": "RuntimeDefault"},
}
POD_SECURITY: dict[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
# What a template may say beside it: who the container is, and that it writes less.
OF_POD_IN_TEMPLATE = frozenset(
    {"fsGroup", "fsGroupChangePolicy", "runAsGroup", "runAsNonRoot", "runAsUser", "supplementalGroups"}
)
OF_CONTAINER_IN_TEMPLATE = frozenset({"readOnlyRootFilesystem", "runAsGroup", "runAsNonRoot", "runAsUser"})
