-- 040: what one user may have at once, whose SSH keys at GitHub are known to be whose, and when sweeps were last done.

-- How much one user may have, whoever asks for it; `most` is the operator's to change, the rest is the migration's.
-- Read by limits_of (112).
create table if not exists public.limits (
  name text primary key,
  most integer not null check (
    most >= 0 is not false or public.refuse_value('most', most::text, 'at least 0')),
  -- What is counted, in words.
  counts text not null
);

insert into public.limits (name, most, counts) values
  ('reservations', 200, 'reservations that wait or run'),
  ('disks', 50, 'disks'),
  ('disk_gb', 50000, 'GB of disks'),
  ('disk_operations', 100, 'operations on disks that are not over'),
  -- Of which an account at AWS may have so many. Those that end an attachment are never refused.
  ('disk_snapshots', 300, 'snapshots that were asked for')
on conflict (name) do update set counts = excluded.counts;

-- One row for each limit and user: whoever makes rows of a user holds it until the commit, so that two at once don't
-- pass a limit. Written by keep_to_limits (112) alone; no login can hold what only that may write.
create table if not exists public.limit_turns (
  limit_name text not null,
  user_id text not null,
  taken_at timestamptz not null,
  primary key (limit_name, user_id)
);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.limit_turns', 'taken_at', '1 day', false, null)
on conflict (table_name) do nothing;
create index if not exists limit_turns_taken_idx on public.limit_turns (taken_at);

-- What limits_of counts.
create index if not exists reservations_live_of_user_idx
  on public.reservations (user_id) where status in ('pending', 'queued', 'preparing', 'active');
create index if not exists disk_operations_live_of_user_idx
  on public.disk_operations (user_id) where status in ('pending', 'in_progress');

-- The name at GitHub of a person who has proven that it is theirs: whose SSH keys let them into what they reserve where
-- they name nobody. Written by the owner of the tables.
alter table public.api_users add column if not exists github_user text check (
  github_user ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$' is not false
  or public.refuse_value('github_user', left(github_user, 60), 'a name at GitHub'));

-- When the periodic work was last done; written by the worker in the commit of it.
alter table public.periodic add column if not exists done_at timestamptz;
