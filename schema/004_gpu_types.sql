-- 004: the kinds of machines that can be reserved. Written by the fixture 001_initial_gpu_types, by operators
-- (is_active) and by the availability updater (009); read at every admission.

-- One row per GPU type; `cpu-*` types have no GPUs. A type that is not active takes no new reservations.
create table if not exists public.gpu_types (
  gpu_type varchar(50) primary key,
  instance_type varchar(100) not null,
  max_gpus integer not null check (max_gpus >= 0),
  cpus integer not null check (cpus > 0),
  memory_gb integer not null check (memory_gb > 0),
  total_cluster_gpus integer default 0 check (total_cluster_gpus >= 0),
  max_per_node integer check (max_per_node >= 0),
  is_active boolean default true,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  description text
);
