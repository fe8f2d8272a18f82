-- 015: nodes that report in, the instance pools they manage, and what was measured (document 002). The heartbeat worker
-- writes what nodes report (019 holds the node's machine); people write nodes, schedules, configurations and users.
-- Times have no zone, as the document prints them: they are UTC (012).
--
-- node_heartbeats, metrics and pool_analytics are partitioned by day, so that old days are dropped whole (103): their
-- keys are (id, timestamp), because a partitioned key needs the day, and bigint, because a fleet of ten thousand
-- counts past an integer within months.

do $$
begin
  if to_regtype('autoscaler.user_role') is null then
    create type autoscaler.user_role as enum ('USER', 'DEVOPS', 'ADMIN');
  end if;
  if to_regtype('autoscaler.auth_provider') is null then
    create type autoscaler.auth_provider as enum ('local', 'keycloak');
  end if;
  if to_regtype('autoscaler.node_status') is null then
    create type autoscaler.node_status as enum ('ACTIVE', 'INACTIVE', 'ERROR', 'OFFLINE');
  end if;
  if to_regtype('autoscaler.pool_status') is null then
    create type autoscaler.pool_status as enum ('healthy', 'warning', 'error');
  end if;
end
$$;

-- People who operate the autoscaler. hashed_password is null for those who sign in with Keycloak; role_override keeps
-- a role that an admin gave from being mapped by Keycloak.
create table if not exists autoscaler.users (
  id serial primary key,
  email varchar(255) unique not null,
  hashed_password varchar(255),
  full_name varchar(255) not null,
  role autoscaler.user_role default 'USER',
  auth_provider autoscaler.auth_provider default 'local',
  keycloak_user_id varchar(255) unique,
  role_override boolean default false,
  is_active boolean default true,
  created_at timestamp default now()
);

-- One row per registered node; api_key_hash is the SHA-256 of its key. A deleted node keeps its row and history:
-- deleted_at is set, and no heartbeat brings it back. config_hash is what it last said it runs. Nothing that a
-- heartbeat changes is in an index, and pages have room, so that a heartbeat rewrites one row and no index.
create table if not exists autoscaler.nodes (
  id serial primary key,
  name varchar(255) not null,
  region varchar(100) not null,
  ip_address varchar(45),
  description text,
  status autoscaler.node_status not null default 'INACTIVE',
  api_key_hash varchar(64) unique,
  last_heartbeat timestamp,
  created_at timestamp default now(),
  config_hash varchar(64),
  error_message text,
  deleted_at timestamptz,
  status_reason text,
  status_msg_id bigint,
  status_since timestamptz not null default public.fleet_now()
) with (fillfactor = 50);

-- One row per instance pool of the cloud, upserted by oracle_pool_id; a pool belongs to one node for good.
-- target_instances is the size that schedules ask for now; null without a schedule.
create table if not exists autoscaler.pools (
  id serial primary key,
  node_id integer not null references autoscaler.nodes (id) on delete cascade,
  oracle_pool_id varchar(255) unique not null,
  name varchar(255) not null,
  region varchar(100) not null,
  min_instances integer default 1 check (
    min_instances >= 0 is not false or public.refuse_value('min_instances', min_instances::text, 'at least 0')),
  max_instances integer default 10 check (
    max_instances >= 0 is not false or public.refuse_value('max_instances', max_instances::text, 'at least 0')),
  current_instances integer default 1 check (
    current_instances >= 0 is not false
      or public.refuse_value('current_instances', current_instances::text, 'at least 0')),
  status autoscaler.pool_status default 'healthy',
  created_at timestamp default now(),
  is_active boolean not null default true,
  target_instances integer check (
    target_instances >= 0 is not false
      or public.refuse_value('target_instances', target_instances::text, 'at least 0')),
  last_reported_at timestamptz,
  -- As last reported, so that the minute's analytics need not look for it.
  active_instances integer,
  avg_cpu_utilization double precision,
  avg_memory_utilization double precision,
  max_cpu_utilization double precision,
  max_memory_utilization double precision
) with (fillfactor = 50);

create index if not exists pools_node_idx on autoscaler.pools (node_id);

-- One number at one time, of a node or of one of its pools.
create table if not exists autoscaler.metrics (
  id bigserial,
  node_id integer not null references autoscaler.nodes (id) on delete cascade,
  pool_id integer references autoscaler.pools (id) on delete cascade,
  metric_type varchar(100) not null,
  value double precision not null,
  unit varchar(50) not null,
  timestamp timestamp not null default now(),
  primary key (id, timestamp)
) partition by range (timestamp);

create index if not exists idx_metrics_node_timestamp on autoscaler.metrics (node_id, timestamp);
create index if not exists idx_metrics_pool_timestamp on autoscaler.metrics (pool_id, timestamp);

-- How many instances a node's pools shall have between two times of the day, UTC. start_time after end_time spans
-- midnight, equal ones are all day; of two at once the larger target counts.
create table if not exists autoscaler.schedules (
  id serial primary key,
  node_id integer not null references autoscaler.nodes (id) on delete cascade,
  name varchar(255) not null,
  start_time varchar(5) not null check (
    (start_time ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$') is not false
      or public.refuse_value('start_time', start_time, 'HH:MM, 00:00 to 23:59')),
  end_time varchar(5) not null check (
    (end_time ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$') is not false
      or public.refuse_value('end_time', end_time, 'HH:MM, 00:00 to 23:59')),
  target_instances integer not null check (
    target_instances >= 0 is not false
      or public.refuse_value('target_instances', target_instances::text, 'at least 0')),
  is_active boolean default true,
  created_at timestamp default now()
);

create index if not exists schedules_node_idx on autoscaler.schedules (node_id);

-- Who did what, by hand; written by audit_write (160) and by services. A row outlives its user.
create table if not exists autoscaler.audit_logs (
  id serial primary key,
  user_id integer references autoscaler.users (id) on delete set null,
  user_email varchar(255),
  user_role varchar(50),
  action varchar(100) not null,
  category varchar(50) not null check (
    (category in ('AUTH', 'NODE', 'POOL', 'USER', 'CONFIG', 'SYSTEM')) is not false
      or public.refuse_value('category', category, 'one of AUTH, NODE, POOL, USER, CONFIG, SYSTEM')),
  resource_type varchar(100),
  resource_id varchar(255),
  resource_name varchar(255),
  description text,
  details text,
  ip_address varchar(45),
  user_agent text,
  status varchar(20) default 'SUCCESS' check (
    (status in ('SUCCESS', 'FAILURE')) is not false
      or public.refuse_value('an audit status', status, 'one of SUCCESS, FAILURE')),
  error_message text,
  timestamp timestamp default now()
);

create index if not exists idx_audit_category on autoscaler.audit_logs (category);
create index if not exists idx_audit_timestamp on autoscaler.audit_logs (timestamp);
create index if not exists idx_audit_user on autoscaler.audit_logs (user_id);
-- As pages of the audit are turned: of everybody, and of one.
create index if not exists audit_logs_turned_idx on autoscaler.audit_logs (coalesce(timestamp, timestamp '1970-01-01'), id);
create index if not exists audit_logs_who_idx on autoscaler.audit_logs (user_email, coalesce(timestamp, timestamp '1970-01-01'), id);

-- Configurations of a node, the newest active one wins; config_hash is the SHA-256 of yaml_config.
create table if not exists autoscaler.node_configurations (
  id serial primary key,
  node_id integer not null references autoscaler.nodes (id) on delete cascade,
  yaml_config text not null,
  config_hash varchar(64) not null,
  is_active boolean default true,
  created_at timestamp default now()
);

create index if not exists node_configurations_active_idx
  on autoscaler.node_configurations (node_id, id) where is_active;

-- Every heartbeat that arrived, late and repeated ones too. timestamp is when it was written down, sent_at when the
-- node says it sent it; heartbeat_id is the message's id.
create table if not exists autoscaler.node_heartbeats (
  id bigserial,
  node_id integer not null references autoscaler.nodes (id) on delete cascade,
  config_hash varchar(64),
  status varchar(50) not null,
  error_message text,
  metrics_data text,
  timestamp timestamp not null default now(),
  heartbeat_id uuid,
  sent_at timestamptz,
  primary key (id, timestamp)
) partition by range (timestamp);

create index if not exists idx_heartbeat_node_time on autoscaler.node_heartbeats (node_id, timestamp);

-- Every change of a node's status, whoever made it: written by the trigger of 140. triggered_by is heartbeat,
-- system or manual.
create table if not exists autoscaler.node_lifecycle_logs (
  id serial primary key,
  node_id integer not null references autoscaler.nodes (id) on delete cascade,
  event_type varchar(50) not null,
  previous_status varchar(50),
  new_status varchar(50) not null,
  reason text,
  triggered_by varchar(100),
  extra_data text,
  timestamp timestamp default now()
);

create index if not exists idx_lifecycle_node on autoscaler.node_lifecycle_logs (node_id);
create index if not exists idx_lifecycle_time on autoscaler.node_lifecycle_logs (timestamp);

-- What each heartbeat said of each pool.
create table if not exists autoscaler.pool_analytics (
  id bigserial,
  pool_id integer not null references autoscaler.pools (id) on delete cascade,
  node_id integer not null references autoscaler.nodes (id) on delete cascade,
  oracle_pool_id varchar(255) not null,
  timestamp timestamp not null default now(),
  current_instances integer not null,
  active_instances integer not null,
  avg_cpu_utilization double precision not null,
  avg_memory_utilization double precision not null,
  max_cpu_utilization double precision,
  max_memory_utilization double precision,
  pool_status varchar(50) default 'healthy',
  is_active boolean default true,
  scaling_event varchar(100),
  scaling_reason text,
  primary key (id, timestamp)
) partition by range (timestamp);

create index if not exists idx_pool_analytics_time on autoscaler.pool_analytics (timestamp);
create index if not exists idx_pool_analytics_pool on autoscaler.pool_analytics (pool_id);
-- Deleting a node looks here.
create index if not exists pool_analytics_node_idx on autoscaler.pool_analytics (node_id);

-- All pools together, once a minute.
create table if not exists autoscaler.system_analytics (
  id serial primary key,
  timestamp timestamp default now(),
  total_active_pools integer default 0,
  total_current_instances integer default 0,
  total_active_instances integer default 0,
  avg_system_cpu double precision default 0.0,
  avg_system_memory double precision default 0.0,
  max_system_cpu double precision default 0.0,
  max_system_memory double precision default 0.0,
  peak_instances_24h integer default 0,
  max_active_pools_24h integer default 0,
  active_nodes integer default 0
);

create unique index if not exists system_analytics_time_idx on autoscaler.system_analytics (timestamp);

-- Where rows go whose day has no partition (a backfill, a clock that is wrong): none is ever refused for its time.
create table if not exists autoscaler.metrics_default partition of autoscaler.metrics default;
create table if not exists autoscaler.node_heartbeats_default partition of autoscaler.node_heartbeats default;
create table if not exists autoscaler.pool_analytics_default partition of autoscaler.pool_analytics default;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('autoscaler.node_heartbeats', 'timestamp', '7 days', true, null),
  ('autoscaler.metrics', 'timestamp', '30 days', true, null),
  ('autoscaler.pool_analytics', 'timestamp', '30 days', true, null),
  ('autoscaler.system_analytics', 'timestamp', '400 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
