-- 040: what can be limited of what one user has, whose SSH keys at GitHub are known to be whose, and when sweeps were last done.

-- What can be limited, in words, as `ada has 8 of these`; the migration's. How much of it, and for whom, is in
-- public.policies (047). Read by policies_of (116).
create table if not exists public.limits (
  name text primary key,
  counts text not null
);

-- One row for each limit and user: whoever makes rows of a user holds it until the commit, so that two at once don't
-- pass a limit. Written by keep_to_limits (116) alone; no login can hold what only that may write.
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
