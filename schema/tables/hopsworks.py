"""People, Hopsworks clusters, who is on which, and what is wrong with either (013, 018, 021)."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, UUID

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment

hopsworks_users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("name", Text),
    moment("created_at", server_default=DEFAULT),
    moment("last_login_at"),
    Column("login_count", Integer, server_default=DEFAULT),
    Column("status", Text, server_default=DEFAULT),
    Column("is_admin", Boolean, server_default=DEFAULT),
    Column("hopsworks_username", Text),
    Column("stripe_customer_id", Text),
    Column("account_owner_id", Text, ForeignKey("hopsworks.users.id")),
    schema="hopsworks",
)

hopsworks_clusters = Table(
    "hopsworks_clusters",
    metadata,
    Column("id", UUID, primary_key=True, server_default=DEFAULT),
    Column("name", Text, nullable=False),
    Column("api_url", Text, nullable=False),
    Column("api_key", Text, nullable=False),
    Column("max_users", Integer, server_default=DEFAULT),
    Column("current_users", Integer, server_default=DEFAULT),
    Column("status", Text, server_default=DEFAULT),
    Column("kubeconfig", Text),
    Column("metadata", JSONB, server_default=DEFAULT),
    moment("created_at", server_default=DEFAULT),
    moment("updated_at", server_default=DEFAULT),
    schema="hopsworks",
)

user_hopsworks_assignments = Table(
    "user_hopsworks_assignments",
    metadata,
    Column("id", UUID, primary_key=True, server_default=DEFAULT),
    Column("user_id", Text, ForeignKey(hopsworks_users.c.id), nullable=False, unique=True),
    Column("hopsworks_cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id)),
    moment("assigned_at", server_default=DEFAULT),
    Column("assigned_by", Text),
    Column("hopsworks_username", Text),
    # 018: the machine
    Column("status", Text, nullable=False, server_default=DEFAULT),
    Column("status_reason", Text),
    Column("status_msg_id", BigInteger),
    moment("status_since", nullable=False, server_default=DEFAULT),
    Column("ticket", Integer, nullable=False, server_default=DEFAULT),
    Column("holds_seat", Boolean, nullable=False, server_default=DEFAULT),
    Column("hopsworks_user_id", BigInteger),
    moment("suspended_at"),
    moment("released_at"),
    moment("failed_at"),
    # 021: what was asked, and what the server said
    Column("wanted_cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id)),
    Column("detail", Text),
    moment("waits_since"),
    moment("asked_at"),
    moment("suspension_asked_at"),
    Column("suspended_for", Text),
    Column("account_enabled", Boolean),
    Column("max_projects", Integer),
    moment("checked_at"),
    Column("left_cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id)),
    Column("moves_to_cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id)),
    schema="hopsworks",
    info={"shows": "detail"},
)

cluster_breakers = Table(
    "cluster_breakers",
    metadata,
    Column("cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id, ondelete="CASCADE"), primary_key=True),
    Column("failures", Integer, nullable=False, server_default=DEFAULT),
    Column("kind", Text),
    Column("reason", Text),
    moment("opened_at"),
    moment("retry_at"),
    schema="hopsworks",
)

accounts_to_close = Table(
    "accounts_to_close",
    metadata,
    Column("id", UUID, primary_key=True, server_default=DEFAULT),
    Column("user_id", Text, ForeignKey(hopsworks_users.c.id, ondelete="CASCADE"), nullable=False),
    Column("hopsworks_cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id, ondelete="CASCADE"), nullable=False),
    Column("hopsworks_user_id", BigInteger),
    moment("asked_at", nullable=False, server_default=DEFAULT),
    moment("closed_at"),
    UniqueConstraint("user_id", "hopsworks_cluster_id"),
    schema="hopsworks",
)

health_check_failures = Table(
    "health_check_failures",
    metadata,
    Column("id", UUID, primary_key=True, server_default=DEFAULT),
    Column("hopsworks_cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id, ondelete="CASCADE"), nullable=False),
    Column("user_id", Text, ForeignKey(hopsworks_users.c.id, ondelete="CASCADE")),
    Column("check_name", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("failures", Integer, nullable=False, server_default=DEFAULT),
    moment("first_failed_at", nullable=False, server_default=DEFAULT),
    moment("last_failed_at", nullable=False, server_default=DEFAULT),
    moment("resolved_at"),
    schema="hopsworks",
)
