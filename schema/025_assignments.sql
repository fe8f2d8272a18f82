-- 025: what the assignment worker (workers/assignment.py) remembers besides the machine (018): what was asked of a row
-- and when, which Hopsworks clusters answer, what is wrong with them, and what their users have used.
--
-- A seat is a row with a cluster: hopsworks_clusters.current_users counts them (018), the sweep recounts them.
-- Rows wait for seats in `pending`; whenever a cluster gets room, or answers again, one message (`admit`) is sent and
-- gives seats to the oldest that fit.

alter table hopsworks.user_hopsworks_assignments
  -- The cluster that was named; null for the least loaded.
  add column if not exists wanted_cluster_id uuid references hopsworks.hopsworks_clusters (id),
  -- What it is doing or waiting for, for people.
  add column if not exists detail text,
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
  add column if not exists left_cluster_id uuid references hopsworks.hopsworks_clusters (id),
  -- Where it goes with the same commit that releases it: a user who has a seat is never without one.
  add column if not exists moves_to_cluster_id uuid references hopsworks.hopsworks_clusters (id);

-- An account is one user's. Two users with one mailbox would otherwise share it.
create unique index if not exists hopsworks_account_has_one_user
  on hopsworks.user_hopsworks_assignments (hopsworks_cluster_id, hopsworks_user_id)
  where hopsworks_user_id is not null and hopsworks_cluster_id is not null;
-- The line.
create index if not exists user_hopsworks_assignments_line_idx
  on hopsworks.user_hopsworks_assignments (asked_at, id) where status = 'pending';
-- Accounts that are due to be looked at.
create index if not exists user_hopsworks_assignments_checked_idx
  on hopsworks.user_hopsworks_assignments (checked_at nulls first) where status = 'active';

-- Who is on no cluster any more has no seat there, whoever moves the row.
create or replace function hopsworks.leave_cluster() returns trigger
language plpgsql
as $$
begin
  if old.hopsworks_cluster_id is not null and not old.holds_seat then
    -- Counted by the service that wrote the row.
    perform hopsworks.decrement_cluster_users(old.hopsworks_cluster_id);
  end if;
  new.left_cluster_id := coalesce(old.hopsworks_cluster_id, new.left_cluster_id);
  new.hopsworks_cluster_id := null;
  new.holds_seat := false;
  new.hopsworks_user_id := null;
  new.account_enabled := null;
  new.max_projects := null;
  return new;
end
$$;

drop trigger if exists leave_cluster on hopsworks.user_hopsworks_assignments;
create trigger leave_cluster before update on hopsworks.user_hopsworks_assignments
  for each row when (old.status is distinct from new.status and new.status in ('released', 'failed'))
  execute function hopsworks.leave_cluster();

-- As in 018, but for rows that another service has written on a cluster: it counts them itself (013), so such a row
-- takes no second seat when the worker adopts it.
create or replace function hopsworks.count_seats() returns trigger
language plpgsql
as $$
declare
  changes text;
  change record;
begin
  changes := case tg_op
    when 'INSERT' then 'select hopsworks_cluster_id, 1 as seats from new_rows where holds_seat'
    else 'select n.hopsworks_cluster_id, 1 as seats
          from new_rows n join old_rows o using (id)
          where n.holds_seat and not (o.status = ''pending'' and n.status = ''creating_user'' and not o.holds_seat
            and o.hopsworks_cluster_id is not distinct from n.hopsworks_cluster_id)
          union all select hopsworks_cluster_id, -1 from old_rows where holds_seat'
  end;
  for change in execute
    'select hopsworks_cluster_id, sum(seats) as seats from (' || changes || ') c
     group by hopsworks_cluster_id having sum(seats) <> 0 order by hopsworks_cluster_id'
  loop
    update hopsworks.hopsworks_clusters
    set current_users = greatest(current_users + change.seats, 0)
    where id = change.hopsworks_cluster_id;
  end loop;
  return null;
end
$$;

-- Who is released to move takes the seat there at once; if there is none any more, nothing has happened (PF409). Named
-- to come after log_moves, so that the history tells both moves in order.
create or replace function hopsworks.move_on() returns trigger
language plpgsql
as $$
begin
  if exists (select from new_rows where status = 'released' and moves_to_cluster_id is not null) then
    update hopsworks.user_hopsworks_assignments a
    set status = 'pending', status_reason = 'moves to ' || c.name, hopsworks_cluster_id = c.id, holds_seat = true,
      moves_to_cluster_id = null, released_at = null, hopsworks_username = null, detail = 'Moves to ' || c.name
    from new_rows n join hopsworks.hopsworks_clusters c on c.id = n.moves_to_cluster_id
    where a.id = n.id and a.status = 'released';
  end if;
  return null;
end
$$;

drop trigger if exists move_on on hopsworks.user_hopsworks_assignments;
create trigger move_on after update on hopsworks.user_hopsworks_assignments
  referencing new table as new_rows for each statement execute function hopsworks.move_on();

-- users.hopsworks_username is the one that was read back from the server.
create or replace function hopsworks.sync_username() returns trigger
language plpgsql
as $$
begin
  update hopsworks.users u
  set hopsworks_username = new.hopsworks_username
  where u.id = new.user_id and u.hopsworks_username is distinct from new.hopsworks_username;
  return null;
end
$$;

drop trigger if exists sync_username on hopsworks.user_hopsworks_assignments;
create trigger sync_username after insert or update on hopsworks.user_hopsworks_assignments
  for each row when (new.status = 'active') execute function hopsworks.sync_username();

-- Whether a cluster answers, one row per cluster, shared by all workers; the worker writes it. Until retry_at nobody
-- calls the cluster but the probe. kind: 'unreachable', 'api_key' (it refuses ours: an operator has to act), 'busy'
-- (it asked us to wait).
create table if not exists hopsworks.cluster_breakers (
  cluster_id uuid primary key references hopsworks.hopsworks_clusters (id) on delete cascade,
  -- Calls in a row that it did not answer.
  failures integer not null default 0 check (
    failures >= 0 is not false or public.refuse_value('failures', failures::text, 'at least 0')),
  kind text check (
    (kind in ('unreachable', 'api_key', 'busy')) is not false
      or public.refuse_value('a breaker''s kind', kind, 'one of unreachable, api_key, busy')),
  reason text,
  opened_at timestamptz,
  retry_at timestamptz,
  check ((retry_at is null) = (opened_at is null) and (retry_at is null) = (kind is null))
);

-- What was found wrong with a cluster, or with a user on it, and when it was right again; one open row for each.
-- Written by the worker; read by operators.
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

-- Every cluster has a breaker.
create or replace function hopsworks.make_breaker() returns trigger
language plpgsql
as $$
begin
  insert into hopsworks.cluster_breakers (cluster_id) values (new.id) on conflict do nothing;
  return null;
end
$$;

drop trigger if exists make_breaker on hopsworks.hopsworks_clusters;
create trigger make_breaker after insert on hopsworks.hopsworks_clusters
  for each row execute function hopsworks.make_breaker();

insert into hopsworks.cluster_breakers (cluster_id) select id from hopsworks.hopsworks_clusters
on conflict do nothing;

-- Room on a cluster is news for those who wait; another address or key for a breaker that is open. Runs with its
-- owner's rights, so that who may change a cluster need not be allowed to send messages.
create or replace function hopsworks.tell_line() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.status = 'active' and new.current_users < new.max_users
    and exists (select from hopsworks.user_hopsworks_assignments where status = 'pending')
  then
    perform pgmq.send('cluster_assignments', '{"action": "admit"}'::jsonb);
  end if;
  if tg_op = 'UPDATE' and (new.api_key, new.api_url) is distinct from (old.api_key, old.api_url)
    and exists (select from hopsworks.cluster_breakers where cluster_id = new.id and retry_at is not null)
  then
    perform pgmq.send('cluster_assignments', jsonb_build_object('action', 'probe', 'cluster_id', new.id, 'once', true));
  end if;
  return null;
end
$$;

revoke execute on function hopsworks.tell_line() from public;

drop trigger if exists tell_line_new on hopsworks.hopsworks_clusters;
create trigger tell_line_new after insert on hopsworks.hopsworks_clusters
  for each row execute function hopsworks.tell_line();
drop trigger if exists tell_line on hopsworks.hopsworks_clusters;
create trigger tell_line after update on hopsworks.hopsworks_clusters
  for each row when (
    new.current_users < old.current_users or new.max_users is distinct from old.max_users
    or new.status is distinct from old.status
    or new.api_key is distinct from old.api_key or new.api_url is distinct from old.api_url)
  execute function hopsworks.tell_line();

-- The rows that a look at the line may give a seat, oldest first: a free seat on the cluster that was named, on the
-- owner's for a team member (with members_overflow: on any if that is full), on any for the rest. Clusters that do
-- not answer take nobody.
create or replace function hopsworks.seat_candidates(most integer, members_overflow boolean) returns setof uuid
language sql stable
as $$
  with with_room as (
    select c.id
    from hopsworks.hopsworks_clusters c join hopsworks.cluster_breakers b on b.cluster_id = c.id
    where c.status = 'active' and c.current_users < c.max_users and b.retry_at is null
  ),
  without_room as (
    select c.id
    from hopsworks.hopsworks_clusters c join hopsworks.cluster_breakers b on b.cluster_id = c.id
    where c.status in ('active', 'full') and not coalesce(c.current_users < c.max_users, false) and b.retry_at is null
  )
  select a.id
  from hopsworks.user_hopsworks_assignments a
  join hopsworks.users u on u.id = a.user_id
  left join hopsworks.user_hopsworks_assignments o
    on o.user_id = u.account_owner_id and o.hopsworks_cluster_id is not null and o.suspended_at is null
  where a.status = 'pending' and a.suspended_at is null and a.hopsworks_cluster_id is null
    and exists (select from with_room)
    and case
      when u.account_owner_id is not null then o.hopsworks_cluster_id in (select id from with_room)
        or members_overflow and o.hopsworks_cluster_id in (select id from without_room)
      when a.wanted_cluster_id is not null then a.wanted_cluster_id in (select id from with_room)
      else true
    end
  order by a.asked_at nulls first, a.id
  limit most
$$;

-- How many projects a user may have, by who pays: the owner does for a team member (0); 5 who pays; 1 the others.
create or replace function hopsworks.projects_allowed(account_owner_id text, stripe_customer_id text) returns integer
language sql immutable parallel safe
as $$
  select case when account_owner_id is not null then 0 when coalesce(stripe_customer_id, '') <> '' then 5 else 1 end
$$;

-- What the users of a cluster used in one stretch of time, as its Kubernetes metrics had it; one row per cluster and
-- slot, so that no slot counts twice. used: {"<user's id>": {"cpu_hours": 0.5, "gpu_hours": 1}}. Written by the
-- worker every slot, read once a day by billing.
create table if not exists hopsworks.usage_samples (
  id uuid primary key,
  hopsworks_cluster_id uuid not null references hopsworks.hopsworks_clusters (id) on delete cascade,
  slot timestamptz not null,
  used jsonb not null,
  taken_at timestamptz not null default public.fleet_now(),
  unique (hopsworks_cluster_id, slot)
);

create index if not exists usage_samples_slot_idx on hopsworks.usage_samples (slot);

alter table hopsworks.usage_daily
  -- The share of the day that the user had a seat.
  add column if not exists seat_days numeric not null default 0;

-- The hopsworks user whose reservations these are: named by id or e-mail, or by the name of an API user with the
-- same e-mail. Null where it is nobody known.
create or replace function public.user_of_reservations(owner_name text) returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    (select u.id from hopsworks.users u where u.id = owner_name),
    (select u.id from hopsworks.users u where lower(u.email) = lower(owner_name) order by u.id limit 1),
    (select u.id from public.api_users p join hopsworks.users u on lower(u.email) = lower(p.email)
     where p.username = owner_name order by u.id limit 1))
$$;

-- It reads names that a worker may not (023 grants it to workers).
revoke execute on function public.user_of_reservations(text) from public;

-- Who used what on one day (UTC), a row per user with anything: the share of the day with a seat, GPU hours and CPU
-- hours of reservations, and what the clusters' metrics said. only_users null for everybody. A row was in use while it
-- was `active`: as its moves say, and for what still is, as it says itself.
create or replace function hopsworks.use_of_day(day date, only_users text[])
returns table (user_id text, seat_days numeric, gpu_hours numeric, cpu_hours numeric, hopsworks_cluster_id uuid)
language sql stable
as $$
  with bounds as (
    select day::timestamp at time zone 'UTC' as starts, (day + 1)::timestamp at time zone 'UTC' as ends
  ),
  -- What ended since the day began. A history is gap-free, so the move before the end is the one that began it; one
  -- that is no longer kept (022) was long ago.
  ended as (
    select h.machine, h.row_id, h.at as until, coalesce(
      (select p.at from public.status_history p
       where p.machine = h.machine and p.row_id = h.row_id and p.history_id < h.history_id
       order by p.history_id desc limit 1), '-infinity') as since
    from public.status_history h cross join bounds b
    where h.machine in ('assignment', 'reservation') and h.from_status = 'active' and h.at > b.starts
  ),
  stays as (
    select a.user_id, coalesce(a.hopsworks_cluster_id, a.left_cluster_id) as cluster_id, e.since, e.until
    from ended e join hopsworks.user_hopsworks_assignments a on a.id::text = e.row_id
    where e.machine = 'assignment'
    union all
    select a.user_id, a.hopsworks_cluster_id, a.status_since, 'infinity'
    from hopsworks.user_hopsworks_assignments a
    where a.status = 'active'
  ),
  seats as (
    select s.user_id, (array_agg(s.cluster_id order by s.until desc))[1] as cluster_id,
      sum(extract(epoch from least(s.until, b.ends) - greatest(s.since, b.starts)) / 86400) as days
    from stays s cross join bounds b
    where s.since < b.ends and s.until > b.starts
    group by s.user_id
  ),
  runs as (
    select r.user_id, r.gpu_type, r.gpu_count, e.since, e.until
    from ended e join public.reservations r on r.reservation_id = e.row_id
    where e.machine = 'reservation'
    union all
    select r.user_id, r.gpu_type, r.gpu_count, r.status_since, 'infinity'
    from public.reservations r
    where r.status = 'active'
  ),
  served as (
    select r.user_id, coalesce(r.gpu_count, 0) as gpus, coalesce(g.cpus, 0) as cpus,
      sum(extract(epoch from least(r.until, b.ends) - greatest(r.since, b.starts)) / 3600) as hours
    from runs r
    cross join bounds b
    left join public.gpu_types g using (gpu_type)
    where r.since < b.ends and r.until > b.starts
    group by 1, 2, 3
  ),
  reserved as (
    select public.user_of_reservations(s.user_id) as user_id,
      sum(s.gpus * s.hours) as gpu_hours,
      sum(case when s.gpus = 0 then s.cpus * s.hours else 0 end) as cpu_hours
    from served s
    group by 1
  ),
  measured as (
    select u.key as user_id,
      sum((u.value ->> 'gpu_hours')::numeric) as gpu_hours, sum((u.value ->> 'cpu_hours')::numeric) as cpu_hours
    from hopsworks.usage_samples s
    cross join bounds b
    cross join jsonb_each(s.used) u
    where s.slot >= b.starts and s.slot < b.ends and (only_users is null or u.key = any (only_users))
    group by u.key
  )
  select u.id, coalesce(s.days, 0), coalesce(r.gpu_hours, 0) + coalesce(m.gpu_hours, 0),
    coalesce(r.cpu_hours, 0) + coalesce(m.cpu_hours, 0), s.cluster_id
  from hopsworks.users u
  left join seats s on s.user_id = u.id
  left join reserved r on r.user_id = u.id
  left join measured m on m.user_id = u.id
  where (only_users is null or u.id = any (only_users))
    and (s.user_id is not null or r.user_id is not null or m.user_id is not null)
$$;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('hopsworks.health_check_failures', 'resolved_at', '90 days', false, 'resolved_at is not null'),
  ('hopsworks.usage_samples', 'slot', '60 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;

insert into public.periodic (name, queue, message, every) values
  ('assignment.sweep', 'cluster_assignments', '{"action": "sweep"}', '60 seconds'),
  ('assignment.sweep_seats', 'cluster_assignments', '{"action": "sweep_seats"}', '300 seconds'),
  ('assignment.sweep_accounts', 'cluster_assignments', '{"action": "sweep_accounts"}', '60 seconds'),
  ('assignment.measure', 'cluster_assignments', '{"action": "measure"}', '300 seconds'),
  ('assignment.bill', 'cluster_assignments', '{"action": "bill"}', '900 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
