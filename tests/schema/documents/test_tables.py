"""Every column, default, index and rule of the five documents' tables is in the database."""

from collections.abc import Iterator

import psycopg
import pytest

from worlds.database import Connection, fresh_database

# A table a paragraph: name, type, `!` where null is refused, `= default`; times with and without zone as printed.
PROMISED = """
public.schema_migrations
  version text !; applied_at timestamptz = now()
public.api_users
  user_id integer ! = nextval(; username varchar(255) !; email varchar(255); created_at timestamp = now();
  is_active boolean = true
public.api_keys
  key_id integer ! = nextval(; user_id integer !; key_hash varchar(128) !; key_prefix varchar(16) !;
  created_at timestamptz = now(); expires_at timestamptz; last_used_at timestamptz; is_active boolean = true;
  description text
public.reservations
  reservation_id varchar(255) !; user_id varchar(255) !; status varchar(50) !; gpu_type varchar(50);
  gpu_count integer; instance_type varchar(100); duration_hours float !; created_at timestamptz !;
  launched_at timestamptz; expires_at timestamptz; updated_at timestamptz = now(); name varchar(255);
  github_user varchar(255); pod_name varchar(255); namespace varchar(100) = 'default'; node_ip varchar(50);
  node_port integer; ssh_command text; jupyter_enabled boolean = false; jupyter_url text; jupyter_port integer;
  jupyter_token varchar(255); jupyter_error text; ebs_volume_id varchar(255); disk_name varchar(255);
  failure_reason text; current_detailed_status text; status_history jsonb = '[]'; pod_logs text; warning text;
  secondary_users jsonb = '[]'; is_multinode boolean = false; master_reservation_id varchar(255); node_index integer;
  total_nodes integer; cli_version varchar(50); ebs_availability_zone varchar(50); domain_name varchar(255);
  fqdn varchar(512); alb_config jsonb; preserve_entrypoint boolean = false; node_private_ip varchar(50)
public.disks
  disk_id uuid ! = gen_random_uuid(); disk_name text !; user_id text !; size_gb integer; disk_size text;
  created_at timestamptz = now(); last_used timestamptz; in_use boolean = generated; reservation_id varchar(255);
  is_backing_up boolean = generated; is_deleted boolean = generated; delete_date date; snapshot_count integer = 0;
  pending_snapshot_count integer = 0; ebs_volume_id text; last_snapshot_at timestamptz; operation_id uuid;
  operation_status text; operation_error text; latest_snapshot_content_s3 text; last_updated timestamptz = now()
public.gpu_types
  gpu_type varchar(50) !; instance_type varchar(100) !; max_gpus integer !; cpus integer !; memory_gb integer !;
  total_cluster_gpus integer = 0; max_per_node integer; is_active boolean = true; created_at timestamptz = now();
  updated_at timestamptz = now(); description text
hopsworks.users
  id text !; email text !; name text; created_at timestamptz = now(); last_login_at timestamptz;
  login_count integer = 0; status text = 'active'; is_admin boolean = false; hopsworks_username text;
  stripe_customer_id text; account_owner_id text
hopsworks.hopsworks_clusters
  id uuid ! = gen_random_uuid(); name text !; api_url text !; api_key text !; max_users integer = 100;
  current_users integer = 0; status text = 'active'; kubeconfig text; metadata jsonb = '{}';
  created_at timestamptz = now(); updated_at timestamptz = now()
hopsworks.user_hopsworks_assignments
  id uuid ! = gen_random_uuid(); user_id text !; hopsworks_cluster_id uuid; assigned_at timestamptz = now();
  assigned_by text; hopsworks_username text
hopsworks.usage_daily
  id uuid ! = gen_random_uuid(); user_id text; date date !; cpu_hours numeric = 0; gpu_hours numeric = 0;
  storage_gb_months numeric = 0; api_calls integer = 0; total_cost numeric = 0; hopsworks_cluster_id uuid;
  created_at timestamptz = now()
hopsworks.user_credits
  user_id text !; total_purchased numeric = 0; total_used numeric = 0; cpu_hours_used numeric = 0;
  gpu_hours_used numeric = 0; storage_gb_months numeric = 0; updated_at timestamptz = now()
hopsworks.billing_history
  id uuid ! = gen_random_uuid(); user_id text; amount numeric !; currency text = 'USD'; description text;
  stripe_invoice_id text; status text = 'pending'; created_at timestamptz = now()
autoscaler.users
  id integer ! = nextval(; email varchar(255) !; hashed_password varchar(255); full_name varchar(255) !;
  role autoscaler.user_role = 'USER'; auth_provider autoscaler.auth_provider = 'local';
  keycloak_user_id varchar(255); role_override boolean = false; is_active boolean = true;
  created_at timestamp = now()
autoscaler.nodes
  id integer ! = nextval(; name varchar(255) !; region varchar(100) !; ip_address varchar(45); description text;
  status autoscaler.node_status = 'INACTIVE'; api_key_hash varchar(64); last_heartbeat timestamp;
  created_at timestamp = now()
autoscaler.pools
  id bigint ! = nextval(; node_id integer !; oracle_pool_id varchar(255) !; name varchar(255) !;
  region varchar(100) !; min_instances integer = 1; max_instances integer = 10; current_instances integer = 1;
  status autoscaler.pool_status = 'healthy'; created_at timestamp = now()
autoscaler.metrics
  id bigint ! = nextval(; node_id integer !; pool_id bigint; metric_type varchar(100) !; value float !;
  unit varchar(50) !; timestamp timestamp = now()
autoscaler.schedules
  id integer ! = nextval(; node_id integer !; name varchar(255) !; start_time varchar(5) !; end_time varchar(5) !;
  target_instances integer !; is_active boolean = true; created_at timestamp = now()
autoscaler.audit_logs
  id bigint ! = nextval(; user_id integer; user_email varchar(255); user_role varchar(50); action varchar(100) !;
  category varchar(50) !; resource_type varchar(100); resource_id varchar(255); resource_name varchar(255);
  description text; details text; ip_address varchar(45); user_agent text; status varchar(20) = 'SUCCESS';
  error_message text; timestamp timestamp = now()
autoscaler.node_configurations
  id bigint ! = nextval(; node_id integer !; yaml_config text !; config_hash varchar(64) !;
  is_active boolean = true; created_at timestamp = now()
autoscaler.node_heartbeats
  id bigint ! = nextval(; node_id integer !; config_hash varchar(64); status varchar(50) !; error_message text;
  metrics_data text; timestamp timestamp = now()
autoscaler.node_lifecycle_logs
  id bigint ! = nextval(; node_id integer !; event_type varchar(50) !; previous_status varchar(50);
  new_status varchar(50) !; reason text; triggered_by varchar(100); extra_data text; timestamp timestamp = now()
autoscaler.pool_analytics
  id bigint ! = nextval(; pool_id bigint !; node_id integer !; oracle_pool_id varchar(255) !;
  timestamp timestamp = now(); current_instances integer !; active_instances integer !; avg_cpu_utilization float !;
  avg_memory_utilization float !; max_cpu_utilization float; max_memory_utilization float;
  pool_status varchar(50) = 'healthy'; is_active boolean = true; scaling_event varchar(100); scaling_reason text
autoscaler.system_analytics
  id bigint ! = nextval(; timestamp timestamp = now(); total_active_pools integer = 0;
  total_current_instances integer = 0; total_active_instances integer = 0; avg_system_cpu float = 0.0;
  avg_system_memory float = 0.0; max_system_cpu float = 0.0; max_system_memory float = 0.0;
  peak_instances_24h integer = 0; max_active_pools_24h integer = 0; active_nodes integer = 0
"""

SHORT = {
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "float": "double precision",
}
# Partitioned by day: the time is part of the key.
KEYS = {
    "autoscaler.metrics": "id, timestamp",
    "autoscaler.node_heartbeats": "id, timestamp",
    "autoscaler.pool_analytics": "id, timestamp",
}
COLUMNS = """
  select format_type(a.atttypid, a.atttypmod), a.attnotnull,
    case when a.attgenerated = 's' then 'generated' else pg_get_expr(d.adbin, d.adrelid) end
  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = %s::regclass and a.attname = %s and not a.attisdropped
"""
KEY_COLUMNS = """
  (select string_agg(a.attname, ', ' order by k.place)
   from unnest(i.indkey) with ordinality k (number, place)
   join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number)
"""
INDEX = f"select {KEY_COLUMNS} from pg_index i where i.indrelid = %s::regclass and i.indexrelid = %s::regclass"
UNIQUE = f"select {KEY_COLUMNS} from pg_index i where i.indrelid = %s::regclass and i.indisunique"


def promised() -> Iterator[tuple[str, str]]:
    for line in PROMISED.strip().splitlines():
        if not line.startswith(" "):
            table = line
        else:
            yield from ((table, column.strip()) for column in line.split(";") if column.strip())


@pytest.fixture(scope="module")
def tables(server_dsn: str, template: str) -> Iterator[Connection]:
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.mark.parametrize(("table", "column"), list(promised()))
def test_a_column_is_as_the_document_prints_it(tables: Connection, table: str, column: str) -> None:
    declared, _, default = column.partition(" = ")
    name, kind, *refuses_null = declared.split(" ")

    found = tables.execute(COLUMNS, (table, name)).fetchone()

    assert found is not None, f"{table} has no column {name}"
    type_now, not_null, default_now = found
    assert type_now == SHORT.get(kind, kind).replace("varchar", "character varying")
    assert (default_now or "").startswith(default)
    assert bool(default_now) == bool(default)
    # Beyond the document, only what has a default may refuse null.
    assert not_null if refuses_null else (not not_null or default)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("user_role", ["USER", "DEVOPS", "ADMIN"]),
        ("auth_provider", ["local", "keycloak"]),
        ("node_status", ["ACTIVE", "INACTIVE", "ERROR", "OFFLINE"]),
        ("pool_status", ["healthy", "warning", "error"]),
    ],
)
def test_an_enum_has_its_labels_in_the_printed_order(tables: Connection, name: str, labels: list[str]) -> None:
    found = tables.execute(
        "select enumlabel from pg_enum where enumtypid = %s::regtype order by enumsortorder", (f"autoscaler.{name}",)
    ).fetchall()

    assert [label for (label,) in found] == labels


@pytest.mark.parametrize(
    ("table", "index", "columns"),
    [
        ("hopsworks.usage_daily", "idx_usage_daily_user_date", "user_id, date"),
        ("autoscaler.metrics", "idx_metrics_node_timestamp", "node_id, timestamp"),
        ("autoscaler.metrics", "idx_metrics_pool_timestamp", "pool_id, timestamp"),
        ("autoscaler.audit_logs", "idx_audit_category", "category"),
        ("autoscaler.audit_logs", "idx_audit_timestamp", "timestamp"),
        ("autoscaler.audit_logs", "idx_audit_user", "user_id"),
        ("autoscaler.node_heartbeats", "idx_heartbeat_node_time", "node_id, timestamp"),
        ("autoscaler.node_lifecycle_logs", "idx_lifecycle_node", "node_id"),
        ("autoscaler.node_lifecycle_logs", "idx_lifecycle_time", "timestamp"),
        ("autoscaler.pool_analytics", "idx_pool_analytics_time", "timestamp"),
        ("autoscaler.pool_analytics", "idx_pool_analytics_pool", "pool_id"),
    ],
)
def test_a_printed_index_is_there_by_its_name(tables: Connection, table: str, index: str, columns: str) -> None:
    found = tables.execute(INDEX, (table, f"{table.partition('.')[0]}.{index}")).fetchone()

    assert found == (columns,)


@pytest.mark.parametrize(
    ("child", "column", "parent", "rule"),
    [
        ("autoscaler.audit_logs", "user_id", "autoscaler.users", "SET NULL"),
        ("autoscaler.pools", "node_id", "autoscaler.nodes", "CASCADE"),
        ("autoscaler.metrics", "node_id", "autoscaler.nodes", "CASCADE"),
        ("autoscaler.schedules", "node_id", "autoscaler.nodes", "CASCADE"),
        ("autoscaler.node_configurations", "node_id", "autoscaler.nodes", "CASCADE"),
        ("autoscaler.node_heartbeats", "node_id", "autoscaler.nodes", "CASCADE"),
        ("autoscaler.node_lifecycle_logs", "node_id", "autoscaler.nodes", "CASCADE"),
        ("autoscaler.pool_analytics", "node_id", "autoscaler.nodes", "CASCADE"),
        ("autoscaler.metrics", "pool_id", "autoscaler.pools", "CASCADE"),
        ("autoscaler.pool_analytics", "pool_id", "autoscaler.pools", "CASCADE"),
        ("public.api_keys", "user_id", "public.api_users", "CASCADE"),
        ("public.disks", "reservation_id", "public.reservations", "SET NULL"),
        ("hopsworks.user_hopsworks_assignments", "user_id", "hopsworks.users", ""),
        ("hopsworks.user_hopsworks_assignments", "hopsworks_cluster_id", "hopsworks.hopsworks_clusters", ""),
        ("hopsworks.usage_daily", "user_id", "hopsworks.users", ""),
        ("hopsworks.usage_daily", "hopsworks_cluster_id", "hopsworks.hopsworks_clusters", ""),
        ("hopsworks.user_credits", "user_id", "hopsworks.users", ""),
        ("hopsworks.billing_history", "user_id", "hopsworks.users", ""),
    ],
)
def test_what_goes_with_a_row_is_as_printed(
    tables: Connection, child: str, column: str, parent: str, rule: str
) -> None:
    found = tables.execute(
        "select pg_get_constraintdef(oid) from pg_constraint"
        " where contype = 'f' and conrelid = %s::regclass and confrelid = %s::regclass",
        (child, parent),
    ).fetchall()

    (definition,) = [text for (text,) in found if text.startswith(f"FOREIGN KEY ({column})")]
    assert definition.partition(" ON DELETE ")[2] == rule


@pytest.mark.parametrize(
    ("table", "key"),
    [
        *KEYS.items(),
        ("public.disks", "user_id, disk_name"),
        ("public.api_users", "username"),
        ("public.api_keys", "key_hash"),
        ("hopsworks.users", "email"),
        ("hopsworks.user_hopsworks_assignments", "id"),
        ("hopsworks.user_hopsworks_assignments", "user_id"),
        ("hopsworks.user_credits", "user_id"),
        ("autoscaler.users", "email"),
        ("autoscaler.users", "keycloak_user_id"),
        ("autoscaler.nodes", "api_key_hash"),
        ("autoscaler.pools", "oracle_pool_id"),
    ],
)
def test_a_key_is_refused_twice(tables: Connection, table: str, key: str) -> None:
    found = tables.execute(UNIQUE, (table,)).fetchall()

    assert (key,) in found


@pytest.mark.parametrize("table", sorted({table for table, _ in promised()} - KEYS.keys()))
def test_a_table_has_the_documents_primary_key(tables: Connection, table: str) -> None:
    first = next(column.split(" ")[0] for of_table, column in promised() if of_table == table)

    found = tables.execute(f"{UNIQUE} and i.indisprimary", (table,)).fetchall()

    assert found == [(first,)]
