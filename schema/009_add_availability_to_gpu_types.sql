-- 009: what the cluster looked like when the availability updater last looked. For people to read: admission
-- counts GPUs itself. Null until the first look; a fixture never writes these columns.

alter table public.gpu_types
  add column if not exists available_gpus integer check (available_gpus >= 0),
  -- The most GPUs that one reservation could get now.
  add column if not exists max_reservable integer check (max_reservable >= 0),
  add column if not exists full_nodes_available integer check (full_nodes_available >= 0),
  add column if not exists running_instances integer check (running_instances >= 0),
  add column if not exists desired_capacity integer check (desired_capacity >= 0),
  add column if not exists last_availability_update timestamptz,
  add column if not exists last_availability_updated_by varchar(100);
