"""What leads to a pod from outside: names (005) and load balancer target groups (006)."""

from sqlalchemy import Column, ForeignKey, Integer, String, Table, Text

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment
from pgfleet.schema.tables.reservations import reservations

domain_mappings = Table(
    "domain_mappings",
    metadata,
    Column("domain_name", String(255), primary_key=True),
    Column("node_ip", String(50), nullable=False),
    Column("node_port", Integer, nullable=False),
    Column(
        "reservation_id",
        String(255),
        ForeignKey(reservations.c.reservation_id, ondelete="CASCADE"),
        nullable=False,
    ),
    moment("expires_at"),
    moment("created_at", server_default=DEFAULT),
)

alb_target_groups = Table(
    "alb_target_groups",
    metadata,
    Column(
        "reservation_id",
        String(255),
        ForeignKey(reservations.c.reservation_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("purpose", Text, primary_key=True),
    Column("target_group_name", String(32), nullable=False, unique=True),
    Column("target_group_arn", Text, unique=True),
    Column("listener_rule_arn", Text, unique=True),
    Column("domain_name", String(255)),
    Column("instance_id", Text),
    Column("port", Integer),
    moment("created_at", server_default=DEFAULT),
    moment("expires_at"),
)
