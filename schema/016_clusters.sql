-- 016: clusters of nodes (document 004). Written by the functions of 152 and 153, by the heartbeat worker and by
-- operators; 019 holds the machines of clusters and nodes.
--
-- A cluster's leaders are two cells of its own row, so there is never more than one of each. epoch grows with every
-- change of a leader; who writes under an older one is refused (150).

-- What an environment starts with; a fixture.
create table if not exists clusters.cluster_config_templates (
  name text primary key,
  description text not null,
  max_nodes integer not null check (
    max_nodes > 0 is not false or public.refuse_value('max_nodes', max_nodes::text, 'at least 1')),
  max_tenants integer not null check (
    max_tenants >= 0 is not false or public.refuse_value('max_tenants', max_tenants::text, 'at least 0')),
  max_storage_gb integer not null check (
    max_storage_gb >= 0 is not false or public.refuse_value('max_storage_gb', max_storage_gb::text, 'at least 0')),
  config jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- One row per cluster. operator_status: a person set the status, so health leaves it alone. config may hold
-- healthCheckInterval, in seconds.
create table if not exists clusters.clusters (
  cluster_id text primary key check (
    (cluster_id ~ '^cluster-[a-z0-9]{8}-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[a-z0-9]{8}$') is not false
      or public.refuse_value('a cluster id', cluster_id, 'cluster-<8>-<YYYY-MM-DD-HH-MM-SS>-<8>')),
  name text not null check (
    name <> '' is not false or public.refuse_value('a cluster''s name', name, 'not empty')),
  description text,
  region text,
  status text not null default 'initializing' check (
    (status in ('initializing', 'active', 'degraded', 'maintenance', 'offline', 'decommissioning')) is not false
      or public.refuse_value('a cluster''s status', status,
        'one of initializing, active, degraded, maintenance, offline, decommissioning')),
  operator_status boolean not null default false,
  health_score double precision not null default 0 check (
    (health_score between 0 and 1) is not false
      or public.refuse_value('health_score', health_score::text, 'between 0 and 1')),
  config jsonb not null default '{}' check (
    (jsonb_typeof(config) = 'object') is not false
      or public.refuse_value('config', jsonb_typeof(config), 'a JSON object')),
  max_nodes integer not null check (
    max_nodes > 0 is not false or public.refuse_value('max_nodes', max_nodes::text, 'at least 1')),
  max_tenants integer not null check (
    max_tenants >= 0 is not false or public.refuse_value('max_tenants', max_tenants::text, 'at least 0')),
  max_storage_gb integer not null check (
    max_storage_gb >= 0 is not false or public.refuse_value('max_storage_gb', max_storage_gb::text, 'at least 0')),
  current_tenants integer not null default 0 check (
    current_tenants >= 0 is not false or public.refuse_value('current_tenants', current_tenants::text, 'at least 0')),
  primary_node_id text,
  coordinator_node_id text,
  epoch bigint not null default 0,
  -- Its primary can't lead, and nobody else can.
  leaderless boolean not null default false,
  last_node_number integer not null default 0,
  created_at timestamptz not null default public.fleet_now(),
  updated_at timestamptz not null default now(),
  decommissioned_at timestamptz,
  status_reason text,
  status_msg_id bigint,
  status_since timestamptz not null default public.fleet_now()
);

-- One row per node of a cluster, with what it last reported; metrics holds what has no column of its own.
create table if not exists clusters.cluster_nodes (
  node_id text primary key check (
    (node_id ~ '^node-[a-z0-9]{8}-\d{4}-\d\d-\d\d-\d+-[a-z0-9]{8}$') is not false
      or public.refuse_value('a node id', node_id, 'node-<8>-<YYYY-MM-DD>-<number>-<8>')),
  cluster_id text not null references clusters.clusters (cluster_id),
  node_number integer not null,
  name text not null check (
    name <> '' is not false or public.refuse_value('a node''s name', name, 'not empty')),
  region text,
  availability_zone text,
  hostname text,
  ip_address text,
  status text not null default 'provisioning' check (
    (status in ('provisioning', 'online', 'offline', 'maintenance', 'error', 'decommissioning')) is not false
      or public.refuse_value('a cluster node''s status', status,
        'one of provisioning, online, offline, maintenance, error, decommissioning')),
  health_status text not null default 'unknown' check (
    (health_status in ('healthy', 'warning', 'critical', 'unknown')) is not false
      or public.refuse_value('health_status', health_status, 'one of healthy, warning, critical, unknown')),
  capacity_cpu double precision check (
    capacity_cpu > 0 is not false or public.refuse_value('capacity_cpu', capacity_cpu::text, 'above 0')),
  capacity_memory_gb double precision check (
    capacity_memory_gb > 0 is not false
      or public.refuse_value('capacity_memory_gb', capacity_memory_gb::text, 'above 0')),
  capacity_storage_gb double precision check (
    capacity_storage_gb >= 0 is not false
      or public.refuse_value('capacity_storage_gb', capacity_storage_gb::text, 'at least 0')),
  capacity_network_mbps double precision check (
    capacity_network_mbps >= 0 is not false
      or public.refuse_value('capacity_network_mbps', capacity_network_mbps::text, 'at least 0')),
  roles text[] not null default '{worker}',
  priority integer not null default 50,
  cpu_usage_percent double precision check (
    (cpu_usage_percent between 0 and 100) is not false
      or public.refuse_value('cpu_usage_percent', cpu_usage_percent::text, 'between 0 and 100')),
  memory_usage_percent double precision check (
    (memory_usage_percent between 0 and 100) is not false
      or public.refuse_value('memory_usage_percent', memory_usage_percent::text, 'between 0 and 100')),
  disk_usage_percent double precision check (
    (disk_usage_percent between 0 and 100) is not false
      or public.refuse_value('disk_usage_percent', disk_usage_percent::text, 'between 0 and 100')),
  load_average double precision,
  metrics jsonb not null default '{}',
  config_hash text,
  error_message text,
  last_heartbeat timestamptz,
  created_at timestamptz not null default public.fleet_now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  status_reason text,
  status_msg_id bigint,
  status_since timestamptz not null default public.fleet_now(),
  unique (cluster_id, node_number),
  -- So that a leader is a node of its own cluster.
  unique (cluster_id, node_id)
) with (fillfactor = 50);

create index if not exists cluster_nodes_status_idx on clusters.cluster_nodes (cluster_id, status);

do $$
begin
  if not exists (select from pg_constraint where conname = 'clusters_primary_fkey') then
    alter table clusters.clusters
      add constraint clusters_primary_fkey foreign key (cluster_id, primary_node_id)
        references clusters.cluster_nodes (cluster_id, node_id),
      add constraint clusters_coordinator_fkey foreign key (cluster_id, coordinator_node_id)
        references clusters.cluster_nodes (cluster_id, node_id);
  end if;
end
$$;

-- What happened, in order; severity debug is for calls that only read (154).
create table if not exists clusters.cluster_events (
  event_id bigint generated always as identity primary key,
  cluster_id text references clusters.clusters (cluster_id) on delete cascade,
  node_id text references clusters.cluster_nodes (node_id) on delete cascade,
  event_type text not null,
  severity text not null default 'info' check (
    (severity in ('debug', 'info', 'warning', 'error', 'critical')) is not false
      or public.refuse_value('severity', severity, 'one of debug, info, warning, error, critical')),
  message text not null,
  details jsonb not null default '{}',
  epoch bigint,
  triggered_by text not null default public.move_actor(),
  created_at timestamptz not null default public.fleet_now()
);

create index if not exists cluster_events_cluster_idx on clusters.cluster_events (cluster_id, created_at);
create index if not exists cluster_events_severity_idx on clusters.cluster_events (severity, created_at);
create index if not exists cluster_events_node_idx on clusters.cluster_events (node_id) where node_id is not null;

-- Measurements of a cluster, or of one of its nodes; partitioned by day, as 015 explains.
create table if not exists clusters.cluster_metrics (
  metric_id bigserial,
  cluster_id text not null references clusters.clusters (cluster_id) on delete cascade,
  node_id text references clusters.cluster_nodes (node_id) on delete cascade,
  metrics jsonb not null check (
    (jsonb_typeof(metrics) = 'object') is not false
      or public.refuse_value('metrics', jsonb_typeof(metrics), 'a JSON object')),
  timestamp timestamptz not null default now(),
  primary key (metric_id, timestamp)
) partition by range (timestamp);

create index if not exists cluster_metrics_cluster_idx on clusters.cluster_metrics (cluster_id, timestamp);
create index if not exists cluster_metrics_node_idx on clusters.cluster_metrics (node_id, timestamp);

create table if not exists clusters.cluster_metrics_default partition of clusters.cluster_metrics default;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('clusters.cluster_metrics', 'timestamp', '30 days', true, null),
  ('clusters.cluster_events', 'created_at', '1 day', false, 'severity = ''debug''')
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
