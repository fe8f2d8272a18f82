-- 058: rows that are there before their message is worked on: whoever serves the API inserts them in the transaction that
-- sends the message (168), so that they can be read at once. Until a worker has checked the message they stand in no line
-- and count in no limit: nobody has checked them yet.

alter table public.reservations
  -- Since when it waits for a worker to check its message; null once one has, and where it was never placed.
  add column if not exists unchecked_since timestamptz,
  -- A hash of what was asked for: whoever asks again under the same id has to ask for the same.
  add column if not exists asked_hash text;

-- Pages of all of them, newest first (schema/reads/pages/). Without the id: PostgreSQL 18 skips over what stands before it, and
-- where statistics are of an empty table it would look for rows by their id there.
create index if not exists reservations_created_idx on public.reservations (created_at);
create index if not exists disk_operations_created_idx on public.disk_operations (created_at);

alter table public.disk_operations
  add column if not exists unchecked_since timestamptz;

-- What is shown of columns that hold secrets, for logins that may read no secret.
alter table public.disk_operations
  add column if not exists source_disk text generated always as (body ->> 'source_disk') stored;
alter table hopsworks.hopsworks_clusters
  add column if not exists has_kubeconfig boolean generated always as (coalesce(kubeconfig, '') <> '') stored;

-- With what limits ask of a user's live rows, so that they are counted by the index alone: where statistics are of an empty
-- table, another index would be read whole for each user. In the place of that of 040.
create index if not exists reservations_live_by_user_idx on public.reservations (user_id) include (unchecked_since)
  where status in ('pending', 'queued', 'preparing', 'active');
-- squawk-ignore require-concurrent-index-deletion
drop index if exists public.reservations_live_of_user_idx;
