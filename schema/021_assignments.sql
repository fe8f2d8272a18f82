-- 021: what the assignment worker (workers/assignment/machine.py) remembers besides the machine (018): what was
-- asked of a row and when, what is wrong with Hopsworks clusters, and what their users have used.
--
-- A seat is a row with a cluster: hopsworks_clusters.current_users counts them (131), the sweep recounts them.
-- Rows wait for seats in `pending`; whenever a cluster gets room, or answers again, one message (`admit`) is sent and
-- gives seats to the oldest that fit.

-- The columns are new and empty, so their foreign keys have nothing to look through.
alter table hopsworks.user_hopsworks_assignments
  -- The cluster that was named; null for the least loaded.
  -- squawk-ignore adding-foreign-key-constraint
  add column if not exists wanted_cluster_id uuid references hopsworks.hopsworks_clusters (id),
  -- What it is doing or waiting for, for people.
  add column if not exists detail text,
  -- Since when it has waited for the same thing.
  add column if not exists waits_since timestamptz,
  -- When the last assign or release that changed it was sent: what was sent before is late.
  add column if not exists asked_at timestamptz,
  -- The same of suspend and reactivate.
  add column if not exists suspension_asked_at timestamptz,
  -- Whose suspension it is: the user's own, or the owner's.
  add column if not exists suspended_for text,
  -- What the Hopsworks server last said: whether the account may log in, and how many projects it may have.
  add column if not exists account_enabled boolean,
  add column if not exists max_projects integer,
  add column if not exists checked_at timestamptz,
  -- Where it was last.
  -- squawk-ignore adding-foreign-key-constraint
  add column if not exists left_cluster_id uuid references hopsworks.hopsworks_clusters (id),
  -- Where it goes with the same commit that releases it: a user who has a seat is never without one.
  -- squawk-ignore adding-foreign-key-constraint
  add column if not exists moves_to_cluster_id uuid references hopsworks.hopsworks_clusters (id);

-- An account is one user's. Two users with one mailbox would otherwise share it.
create unique index if not exists hopsworks_account_has_one_user
  on hopsworks.user_hopsworks_assignments (hopsworks_cluster_id, hopsworks_user_id)
  where hopsworks_user_id is not null and hopsworks_cluster_id is not null;
-- The line.
create index if not exists user_hopsworks_assignments_line_idx
  on hopsworks.user_hopsworks_assignments (asked_at nulls first, id) where status = 'pending';
-- Accounts that are due to be looked at.
create index if not exists user_hopsworks_assignments_checked_idx
  on hopsworks.user_hopsworks_assignments (checked_at nulls first) where status = 'active';

-- Accounts of users who have left a cluster, until they are deactivated there. Written when a row leaves, whoever moves
-- it; the worker closes them, and its sweep sends what was lost. Whose number is known stay: a user who comes back has the
-- account of before, whatever its e-mail is then.
create table if not exists hopsworks.accounts_to_close (
  id uuid primary key default gen_random_uuid(),
  user_id text not null references hopsworks.users (id) on delete cascade,
  hopsworks_cluster_id uuid not null references hopsworks.hopsworks_clusters (id) on delete cascade,
  hopsworks_user_id bigint,
  asked_at timestamptz not null default public.fleet_now(),
  closed_at timestamptz,
  unique (user_id, hopsworks_cluster_id)
);

create index if not exists accounts_to_close_open_idx on hopsworks.accounts_to_close (asked_at) where closed_at is null;
-- squawk-ignore require-concurrent-index-deletion
drop index if exists hopsworks.accounts_to_close_closed_idx;
create index if not exists accounts_to_close_forgettable_idx on hopsworks.accounts_to_close (closed_at)
  where closed_at is not null and hopsworks_user_id is null;

-- Rows that left before this file.
update hopsworks.user_hopsworks_assignments
set left_cluster_id = hopsworks_cluster_id, hopsworks_cluster_id = null, hopsworks_user_id = null
where status in ('released', 'failed') and hopsworks_cluster_id is not null;

-- What was found wrong with a cluster, or with a user on it, and when it was right again; one open row for each.
-- Written by the worker, and by the outages of clusters (182); read by operators.
create table if not exists hopsworks.health_check_failures (
  id uuid primary key default gen_random_uuid(),
  hopsworks_cluster_id uuid not null references hopsworks.hopsworks_clusters (id) on delete cascade,
  user_id text references hopsworks.users (id) on delete cascade,
  check_name text not null check (
    (check_name in ('reachable', 'api_key', 'account', 'seats', 'metrics')) is not false
      or public.refuse_value('a health check', check_name, 'one of reachable, api_key, account, seats, metrics')),
  details text not null,
  failures integer not null default 1,
  first_failed_at timestamptz not null default public.fleet_now(),
  last_failed_at timestamptz not null default public.fleet_now(),
  resolved_at timestamptz
);

create unique index if not exists health_check_failures_open_idx
  on hopsworks.health_check_failures (hopsworks_cluster_id, check_name, coalesce(user_id, ''))
  where resolved_at is null;
create index if not exists health_check_failures_user_idx on hopsworks.health_check_failures (user_id);
create index if not exists health_check_failures_resolved_idx
  on hopsworks.health_check_failures (resolved_at) where resolved_at is not null;

-- What the users of a cluster used in one stretch of time, as its Kubernetes metrics had it; one row per cluster and
-- slot, so that no slot counts twice. used: {"<user's id>": {"cpu_hours": 0.5, "gpu_hours": 1}}. Written by the
-- worker every slot; usage_hours has the sums.
create table if not exists hopsworks.usage_samples (
  id uuid primary key,
  hopsworks_cluster_id uuid not null references hopsworks.hopsworks_clusters (id) on delete cascade,
  slot timestamptz not null,
  used jsonb not null,
  taken_at timestamptz not null default public.fleet_now(),
  unique (hopsworks_cluster_id, slot)
);

create index if not exists usage_samples_slot_idx on hopsworks.usage_samples (slot);

-- What all samples of one day (UTC) say of one user. Written with each sample; read by billing.
create table if not exists hopsworks.usage_hours (
  user_id text references hopsworks.users (id) on delete cascade,
  day date,
  cpu_hours numeric not null default 0,
  gpu_hours numeric not null default 0,
  primary key (user_id, day)
);

create index if not exists usage_hours_day_idx on hopsworks.usage_hours (day);

-- The days whose bills have been sent, and to how many users: each day once, in the commit that sends them. Written by
-- the worker. To have one of the last seven days listed again, delete its row: who was billed is not billed again.
create table if not exists hopsworks.billed_days (
  day date primary key,
  listed_at timestamptz not null default public.fleet_now(),
  users integer not null
);

alter table hopsworks.usage_daily
  -- The share of the day that the user had a seat.
  add column if not exists seat_days numeric not null default 0;

-- The few names that are not in small letters; the others are found as they are.
create index if not exists reservations_mixed_case_idx
  on public.reservations (lower(user_id)) where user_id <> lower(user_id);
create index if not exists api_users_email_lower_idx on public.api_users (lower(email));

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('hopsworks.health_check_failures', 'resolved_at', '90 days', false, 'resolved_at is not null'),
  ('hopsworks.accounts_to_close', 'closed_at', '30 days', false, 'closed_at is not null and hopsworks_user_id is null'),
  ('hopsworks.usage_samples', 'slot', '3 days', false, null),
  ('hopsworks.usage_hours', 'day', '60 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;

insert into public.periodic (name, queue, message, every) values
  ('assignment.sweep', 'cluster_assignments', '{"action": "sweep"}', '60 seconds'),
  ('assignment.sweep_seats', 'cluster_assignments', '{"action": "sweep_seats"}', '300 seconds'),
  ('assignment.sweep_accounts', 'cluster_assignments', '{"action": "sweep_accounts"}', '60 seconds'),
  ('assignment.measure', 'cluster_assignments', '{"action": "measure"}', '300 seconds'),
  ('assignment.bill', 'cluster_assignments', '{"action": "bill"}', '900 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
