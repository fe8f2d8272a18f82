-- 000: which SQL files this database has seen. Made first, because it tells what is still to do; written by
-- `pgfleet migrate` only. Files applied with psql are not in it: the next `pgfleet migrate` applies them again,
-- which changes nothing, and writes them down.

-- One row for each file, `schema/001_users_and_keys`. checksum is the SHA-256 of its text, so that an edited file
-- is noticed: from 100 on it is applied again, below it is refused. makes names the functions and views that it made, so
-- that those that it no longer makes are dropped. Rows of other programs (a bare version) are theirs.
create table if not exists public.schema_migrations (
  version text primary key,
  applied_at timestamptz default now(),
  checksum text,
  makes text[]
);

-- For a table that was there before us.
alter table public.schema_migrations
  add column if not exists checksum text,
  add column if not exists makes text[];
