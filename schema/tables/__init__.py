"""Every table of the program, described once for reads; the SQL files make them, and a test compares both."""

from schema.tables.disks import disks
from schema.tables.gpu_types import gpu_types
from schema.tables.metadata import metadata
from schema.tables.migrations import schema_migrations
from schema.tables.reservations import reservations
from schema.tables.routing import alb_target_groups, domain_mappings
from schema.tables.runtime import dead_letters, moves, periodic, status_history
from schema.tables.users import api_keys, api_users

__all__ = [
    "alb_target_groups",
    "api_keys",
    "api_users",
    "dead_letters",
    "disks",
    "domain_mappings",
    "gpu_types",
    "metadata",
    "moves",
    "periodic",
    "reservations",
    "schema_migrations",
    "status_history",
]
