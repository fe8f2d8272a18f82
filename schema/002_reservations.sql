-- 002: reservations of GPUs. The reservation worker inserts a row when it reads `create_reservation` and moves
-- it from state to state (011 holds the machine); the API and the command line read. Rows stay when they end.

-- One row per pod; a gang is one row per node, joined by master_reservation_id. Names of people and not ids,
-- because messages carry names. No CHECK on status: the table of moves (010) decides.
create table if not exists public.reservations (
  reservation_id varchar(255) primary key,
  user_id varchar(255) not null,
  status varchar(50) not null,
  gpu_type varchar(50),
  gpu_count integer check (gpu_count >= 0),
  instance_type varchar(100),
  duration_hours double precision not null check (duration_hours > 0),
  created_at timestamptz not null,
  launched_at timestamptz,
  expires_at timestamptz,
  updated_at timestamptz default now(),
  name varchar(255),
  github_user varchar(255),
  pod_name varchar(255),
  namespace varchar(100) default 'default',
  node_ip varchar(50),
  node_port integer,
  ssh_command text,
  jupyter_enabled boolean default false,
  jupyter_url text,
  jupyter_port integer,
  jupyter_token varchar(255),
  jupyter_error text,
  ebs_volume_id varchar(255),
  disk_name varchar(255),
  failure_reason text,
  current_detailed_status text,
  status_history jsonb default '[]',
  pod_logs text,
  warning text,
  secondary_users jsonb default '[]',
  is_multinode boolean default false,
  master_reservation_id varchar(255),
  node_index integer check (node_index >= 0),
  total_nodes integer check (total_nodes >= 1),
  cli_version varchar(50),
  ebs_availability_zone varchar(50),
  domain_name varchar(255),
  fqdn varchar(512),
  alb_config jsonb,
  preserve_entrypoint boolean default false,
  node_private_ip varchar(50)
);

create index if not exists reservations_user_idx on public.reservations (user_id, created_at);
create index if not exists reservations_status_idx on public.reservations (status);
create index if not exists reservations_gang_idx
  on public.reservations (master_reservation_id) where master_reservation_id is not null;
-- Live rows only, so that years of ended ones cost nothing.
create index if not exists reservations_live_idx
  on public.reservations (gpu_type, status, created_at)
  where status in ('pending', 'queued', 'preparing', 'active');

-- Who may see a row where row level security is on (161): of every table that has such a column.
comment on column public.reservations.user_id is 'The user whose row it is';
