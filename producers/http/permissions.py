"""Who may do what through the API: one table. What it does not list is refused.

`OWN` is what is the principal's own: their rows, their keys, their node. `ANY` is everybody's, and what is nobody's.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pgfleet.schema.asking import Role, Whose

_USER, _DEVOPS, _ADMIN, _NODE = Role.USER, Role.DEVOPS, Role.ADMIN, Role.NODE
_NOBODYS, _OWN, _ANY = Whose.NOBODYS, Whose.OWN, Whose.ANY


def _may(
    user: Whose = _NOBODYS, devops: Whose = _NOBODYS, admin: Whose = _NOBODYS, node: Whose = _NOBODYS
) -> Mapping[Role, Whose]:
    return MappingProxyType({_USER: user, _DEVOPS: devops, _ADMIN: admin, _NODE: node})


_EVERYBODY = _may(_ANY, _ANY, _ANY)
_OWN_ROWS = _may(_OWN, _ANY, _ANY)
_OPERATORS = _may(devops=_ANY, admin=_ANY)
_ADMINS = _may(admin=_ANY)

PERMISSIONS: Mapping[str, Mapping[Role, Whose]] = MappingProxyType(
    {
        "me.read": _may(_OWN, _OWN, _OWN, _OWN),
        "reservations.read": _OWN_ROWS,
        "reservations.write": _OWN_ROWS,
        # GPU types and lines: counts, never names.
        "gpu-types.read": _EVERYBODY,
        "lines.read": _EVERYBODY,
        "disks.read": _OWN_ROWS,
        "disks.write": _OWN_ROWS,
        "quarantine.read": _OPERATORS,
        "usage.read": _OWN_ROWS,
        "policies.read": _OWN_ROWS,
        "policies.write": _OPERATORS,
        "assignments.read": _OWN_ROWS,
        "assignments.write": _ADMINS,
        "hopsworks-clusters.read": _OPERATORS,
        "hopsworks-clusters.write": _ADMINS,
        "nodes.read": _OPERATORS,
        "nodes.write": _OPERATORS,
        "nodes.heartbeat": _may(node=_OWN),
        "pools.read": _OPERATORS,
        "pools.write": _OPERATORS,
        "schedules.read": _OPERATORS,
        "schedules.write": _OPERATORS,
        "configurations.read": _may(devops=_ANY, admin=_ANY, node=_OWN),
        "configurations.write": _OPERATORS,
        "clusters.read": _OPERATORS,
        "clusters.write": _OPERATORS,
        "queues.read": _OPERATORS,
        "dead-letters.read": _OPERATORS,
        "dead-letters.write": _OPERATORS,
        # Why nothing moves is everybody's to know.
        "pauses.read": _EVERYBODY,
        "pauses.write": _OPERATORS,
        "periodic.read": _OPERATORS,
        "doctor.read": _OPERATORS,
        "audit.read": _ADMINS,
        "events.read": _OWN_ROWS,
        "subscriptions.read": _OWN_ROWS,
        "subscriptions.write": _OWN_ROWS,
        "keys.read": _may(_OWN, _OWN, _ANY),
        "keys.write": _may(_OWN, _OWN, _ANY),
        "users.read": _ADMINS,
        "users.write": _ADMINS,
    }
)


# What nobody need prove anything for.
OPEN = frozenset({"sessions.create"})


def whose(permission: str, role: Role) -> Whose:
    """Whose rows a role may ask about; nobody's where the table does not say."""
    return PERMISSIONS.get(permission, {}).get(role, Whose.NOBODYS)
