"""What users have used and what it costs (014, 021)."""

from sqlalchemy import Column, Date, ForeignKey, Integer, Numeric, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, UUID

from pgfleet.schema.tables.hopsworks import hopsworks_clusters, hopsworks_users
from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment

billing_rates = Table(
    "billing_rates",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("price", Numeric, nullable=False),
    Column("currency", Text, nullable=False, server_default=DEFAULT),
    Column("description", Text),
    moment("updated_at", nullable=False, server_default=DEFAULT),
    schema="hopsworks",
)

usage_daily = Table(
    "usage_daily",
    metadata,
    Column("id", UUID, primary_key=True, server_default=DEFAULT),
    Column("user_id", Text, ForeignKey(hopsworks_users.c.id)),
    Column("date", Date, nullable=False),
    Column("cpu_hours", Numeric, server_default=DEFAULT),
    Column("gpu_hours", Numeric, server_default=DEFAULT),
    Column("storage_gb_months", Numeric, server_default=DEFAULT),
    Column("api_calls", Integer, server_default=DEFAULT),
    Column("total_cost", Numeric, server_default=DEFAULT),
    Column("hopsworks_cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id)),
    moment("created_at", server_default=DEFAULT),
    Column("seat_days", Numeric, nullable=False, server_default=DEFAULT),
    schema="hopsworks",
)

usage_samples = Table(
    "usage_samples",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("hopsworks_cluster_id", UUID, ForeignKey(hopsworks_clusters.c.id, ondelete="CASCADE"), nullable=False),
    moment("slot", nullable=False),
    Column("used", JSONB, nullable=False),
    moment("taken_at", nullable=False, server_default=DEFAULT),
    UniqueConstraint("hopsworks_cluster_id", "slot"),
    schema="hopsworks",
)

billed_days = Table(
    "billed_days",
    metadata,
    Column("day", Date, primary_key=True),
    moment("listed_at", nullable=False, server_default=DEFAULT),
    Column("users", Integer, nullable=False),
    schema="hopsworks",
)

user_credits = Table(
    "user_credits",
    metadata,
    Column("user_id", Text, ForeignKey(hopsworks_users.c.id), primary_key=True),
    Column("total_purchased", Numeric, server_default=DEFAULT),
    Column("total_used", Numeric, server_default=DEFAULT),
    Column("cpu_hours_used", Numeric, server_default=DEFAULT),
    Column("gpu_hours_used", Numeric, server_default=DEFAULT),
    Column("storage_gb_months", Numeric, server_default=DEFAULT),
    moment("updated_at", server_default=DEFAULT),
    schema="hopsworks",
)

billing_history = Table(
    "billing_history",
    metadata,
    Column("id", UUID, primary_key=True, server_default=DEFAULT),
    Column("user_id", Text, ForeignKey(hopsworks_users.c.id)),
    Column("amount", Numeric, nullable=False),
    Column("currency", Text, server_default=DEFAULT),
    Column("description", Text),
    Column("stripe_invoice_id", Text),
    Column("status", Text, server_default=DEFAULT),
    moment("created_at", server_default=DEFAULT),
    schema="hopsworks",
)
