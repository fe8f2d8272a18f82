-- 024: what the cluster of reservations has, as it was last seen: its nodes, our pods on them, and pods that no row
-- accounts for. Every reservation worker writes what its watch tells it, and one of them looks at everything each
-- minute (176); read by admission, the dry run, `pgfleet types` and the doctor.

-- The nodes that have the label GpuType. One that is gone stays for a while, with the time.
create table if not exists public.gpu_nodes (
  node_name text primary key,
  gpu_type text not null,
  instance_type text,
  zone text,
  -- Those that pods can have, and of them those that pods have that are not ours: the last look counted them.
  gpus integer not null check (gpus >= 0),
  gpus_of_others integer not null default 0 check (gpus_of_others >= 0),
  is_ready boolean not null,
  is_cordoned boolean not null,
  -- Why it takes no pod now; null where it does.
  problem text,
  -- By their type: InternalIP, ExternalIP; of each a list.
  addresses jsonb not null default '{}',
  resource_version text not null,
  seen_at timestamptz not null default public.fleet_now(),
  gone_at timestamptz
);

create index if not exists gpu_nodes_type_idx on public.gpu_nodes (gpu_type) where gone_at is null;

-- Pods with our label, whoever made them.
create table if not exists public.gpu_pods (
  pod_uid text primary key,
  pod_name text not null,
  namespace text not null,
  -- The reservation that it says it is of; there may be no such row.
  reservation_id text,
  gpu_type text,
  node_name text,
  gpus integer not null check (gpus >= 0),
  phase text not null,
  is_ready boolean not null,
  is_deleting boolean not null,
  -- Of all that steps look at: what does not change it, is not written.
  fingerprint text not null,
  resource_version text not null,
  -- The version at which its service for SSH was seen gone.
  service_gone_version text,
  seen_at timestamptz not null default public.fleet_now(),
  gone_at timestamptz
);

create index if not exists gpu_pods_node_idx on public.gpu_pods (node_name) where gone_at is null;
create index if not exists gpu_pods_reservation_idx on public.gpu_pods (reservation_id) where gone_at is null;
create index if not exists gpu_pods_gone_idx on public.gpu_pods (gone_at) where gone_at is not null;

-- Pods with our label that no row accounts for: of a database that was restored, say. None is deleted by us: a person
-- looks. Written by the reservation worker's sweep.
create table if not exists public.pod_quarantine (
  pod_uid text primary key,
  pod_name text not null,
  namespace text not null,
  reservation_id text,
  gpu_type text,
  node_name text,
  gpus integer not null default 0 check (gpus >= 0),
  reason text not null,
  found_at timestamptz not null default public.fleet_now(),
  -- When it was gone, or a row accounted for it.
  gone_at timestamptz
);

-- The look at all nodes that one worker makes for all: one row.
create table if not exists public.gpu_looks (
  only_one boolean primary key default true check (only_one),
  every interval not null default '60 seconds' check (every > '0'),
  next_at timestamptz not null default public.fleet_now(),
  -- When the last look saw everything, and who looked; what the last one could not see, if anything.
  seen_at timestamptz,
  seen_by text,
  problem text
);

insert into public.gpu_looks default values on conflict (only_one) do nothing;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.gpu_nodes', 'gone_at', '7 days', false, 'gone_at is not null'),
  ('public.gpu_pods', 'gone_at', '1 day', false, 'gone_at is not null'),
  ('public.pod_quarantine', 'gone_at', '90 days', false, 'gone_at is not null')
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
