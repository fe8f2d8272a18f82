-- 025: what the assignment worker (workers/assignment/machine.py) remembers besides the machine (018): what was asked of a row
-- and when, which Hopsworks clusters answer, what is wrong with them, and what their users have used.
--
-- A seat is a row with a cluster: hopsworks_clusters.current_users counts them (018), the sweep recounts them.
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
-- Looks at the line that nobody has taken up yet: one is enough.
create index if not exists q_cluster_assignments_admit_idx on pgmq.q_cluster_assignments (msg_id)
  where message ->> 'action' = 'admit';
-- Accounts that are due to be looked at.
create index if not exists user_hopsworks_assignments_checked_idx
  on hopsworks.user_hopsworks_assignments (checked_at nulls first) where status = 'active';

-- Accounts of users who have left a cluster, until they are deactivated there. Written when a row leaves, whoever moves
-- it; the worker closes them, and its sweep sends what was lost.
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
create index if not exists accounts_to_close_closed_idx on hopsworks.accounts_to_close (closed_at)
  where closed_at is not null;

-- Whoever leaves a cluster, by whatever hand, has no seat there any more, and an account that is to be closed. Runs with
-- its owner's rights, so that who may move a row need not be allowed to send messages.
create or replace function hopsworks.leave_cluster() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.status in ('released', 'failed') then
    new.hopsworks_cluster_id := null;
    new.holds_seat := false;
  elsif old.status = 'active' and new.hopsworks_cluster_id is distinct from old.hopsworks_cluster_id then
    raise exception 'user % is active on a cluster, and can''t be written onto another', old.user_id
      using errcode = 'PF006', hint = 'pgfleet users release ..., then assign; or pgfleet hopsworks drain ... --move';
  end if;
  if new.hopsworks_cluster_id is not distinct from old.hopsworks_cluster_id then
    return new;
  end if;
  new.left_cluster_id := old.hopsworks_cluster_id;
  new.hopsworks_user_id := null;
  new.account_enabled := null;
  new.max_projects := null;
  perform hopsworks.ask_to_close(old.user_id, old.hopsworks_cluster_id, old.hopsworks_user_id);
  return new;
end
$$;

-- Asks for an account to be closed; at first, or once more.
create or replace function hopsworks.ask_to_close(of_user text, on_cluster uuid, account bigint) returns void
language plpgsql
as $$
begin
  insert into hopsworks.accounts_to_close as known (user_id, hopsworks_cluster_id, hopsworks_user_id)
  values (of_user, on_cluster, account)
  on conflict (user_id, hopsworks_cluster_id) do update
  set asked_at = public.fleet_now(), closed_at = null,
    hopsworks_user_id = coalesce(excluded.hopsworks_user_id, known.hopsworks_user_id);
  perform pgmq.send('cluster_assignments', jsonb_build_object(
    'action', 'close_account', 'user_id', of_user, 'cluster_id', on_cluster, 'account_id', account));
end
$$;

revoke execute on function hopsworks.leave_cluster() from public;
revoke execute on function hopsworks.ask_to_close(text, uuid, bigint) from public;

drop trigger if exists leave_cluster on hopsworks.user_hopsworks_assignments;
create trigger leave_cluster before update on hopsworks.user_hopsworks_assignments
  for each row when (
    old.status is distinct from new.status and new.status in ('released', 'failed')
    or old.hopsworks_cluster_id is not null and new.hopsworks_cluster_id is distinct from old.hopsworks_cluster_id)
  execute function hopsworks.leave_cluster();

-- Rows that left before this file.
update hopsworks.user_hopsworks_assignments
set left_cluster_id = hopsworks_cluster_id, hopsworks_cluster_id = null, hopsworks_user_id = null
where status in ('released', 'failed') and hopsworks_cluster_id is not null;

-- As in 018, and for rows that another service has written on a cluster without holds_seat: what is counted beyond the
-- rows that hold a seat is theirs. The worker adopts such a row without counting it again, as long as there are such
-- seats; then it takes one like everybody, and one too many is refused for good (PF007). Leaving gives one of them back.
create or replace function hopsworks.count_seats() returns trigger
language plpgsql
as $$
declare
  changes text;
  change record;
  counted integer;
  most integer;
  held integer;
begin
  changes := case tg_op
    when 'INSERT' then
      'select hopsworks_cluster_id, 1 as seats, 0 as adopted, 0 as left_uncounted from new_rows where holds_seat'
    else 'select n.hopsworks_cluster_id, (not a.adopts)::integer as seats, a.adopts::integer as adopted,
            0 as left_uncounted
          from new_rows n join old_rows o using (id)
          cross join lateral (select o.status = ''pending'' and n.status = ''creating_user'' and not o.holds_seat
            and o.hopsworks_cluster_id is not distinct from n.hopsworks_cluster_id as adopts) a
          where n.holds_seat
          union all select hopsworks_cluster_id, -1, 0, 0 from old_rows where holds_seat
          union all select o.hopsworks_cluster_id, 0, 0, 1 from old_rows o join new_rows n using (id)
          where o.hopsworks_cluster_id is not null and not o.holds_seat and n.hopsworks_cluster_id is null'
  end;
  for change in execute
    'select hopsworks_cluster_id, sum(seats) as seats, sum(adopted) as adopted, sum(left_uncounted) as left_uncounted
     from (' || changes || ') c group by hopsworks_cluster_id
     having sum(seats) <> 0 or sum(adopted) > 0 or sum(left_uncounted) > 0 order by hopsworks_cluster_id'
  loop
    update hopsworks.hopsworks_clusters
    set current_users = greatest(current_users + change.seats, 0)
    where id = change.hopsworks_cluster_id
    returning current_users, max_users into counted, most;
    continue when change.adopted = 0 and change.left_uncounted = 0;
    select count(*) into held from hopsworks.user_hopsworks_assignments
    where hopsworks_cluster_id = change.hopsworks_cluster_id and holds_seat;
    if held > counted and held > most then
      raise exception 'all % seats of Hopsworks cluster % are taken', most, change.hopsworks_cluster_id
        using errcode = 'PF007';
    end if;
    update hopsworks.hopsworks_clusters
    set current_users = greatest(held, counted - change.left_uncounted)
    where id = change.hopsworks_cluster_id and current_users <> greatest(held, counted - change.left_uncounted);
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

-- Adds new samples to their days; ids that are no user's are left out. In key order, so that two samples with the same
-- users don't wait in a circle.
create or replace function hopsworks.add_usage_hours() returns trigger
language plpgsql
as $$
begin
  insert into hopsworks.usage_hours as known (user_id, day, cpu_hours, gpu_hours)
  select used.key, (s.slot at time zone 'UTC')::date,
    coalesce(sum((used.value ->> 'cpu_hours')::numeric), 0), coalesce(sum((used.value ->> 'gpu_hours')::numeric), 0)
  from new_rows s cross join jsonb_each(s.used) used
  where exists (select from hopsworks.users u where u.id = used.key)
  group by 1, 2 order by 1, 2
  on conflict (user_id, day) do update
  set cpu_hours = known.cpu_hours + excluded.cpu_hours, gpu_hours = known.gpu_hours + excluded.gpu_hours;
  return null;
end
$$;

drop trigger if exists add_usage_hours on hopsworks.usage_samples;
create trigger add_usage_hours after insert on hopsworks.usage_samples
  referencing new table as new_rows for each statement execute function hopsworks.add_usage_hours();

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

-- The hopsworks users whose reservations these are: named by id or e-mail, or by the name of an API user with the
-- same e-mail. Null where it is nobody known.
create or replace function public.users_of_reservations(owner_names text[])
returns table (owner_name text, user_id text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select n.name, case
    -- A name of the API is that user's, whatever else it looks like.
    when exists (select from public.api_users p where p.username = n.name) then
      (select u.id from public.api_users p join hopsworks.users u on lower(u.email) = lower(p.email)
       where p.username = n.name order by u.id limit 1)
    else coalesce(
      (select u.id from hopsworks.users u where u.id = n.name),
      (select u.id from hopsworks.users u where lower(u.email) = lower(n.name) order by u.id limit 1))
    end
  from unnest(owner_names) n (name)
$$;

-- The other way round: every name under which reservations may be one of these users'. Where a name could be several
-- users', users_of_reservations says whose it is.
create or replace function public.names_in_reservations(of_users text[]) returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  with people as (select u.id, lower(u.email) as email from hopsworks.users u where u.id = any (of_users))
  select array(
    select id from people
    union select email from people
    union select r.user_id from people cross join lateral (
      select distinct r.user_id from public.reservations r
      where lower(r.user_id) = people.email and r.user_id <> lower(r.user_id)) r
    union select p.username from people join public.api_users p on lower(p.email) = people.email)
$$;

-- The few names that are not in small letters; the others are found as they are.
create index if not exists reservations_mixed_case_idx
  on public.reservations (lower(user_id)) where user_id <> lower(user_id);
create index if not exists api_users_email_lower_idx on public.api_users (lower(email));

-- They read names that a worker may not (023 grants them to workers).
revoke execute on function public.users_of_reservations(text[]) from public;
revoke execute on function public.names_in_reservations(text[]) from public;

-- Who used what on one day (UTC), a row per user with anything: the share of the day with a seat, GPU hours and CPU
-- hours of reservations, and what the clusters' metrics said. only_users null for everybody. A row was in use while it
-- was `active`: as its moves say, and for what still is, as it says itself. Planned for each call, as everybody and a
-- few have little in common.
create or replace function hopsworks.use_of_day(day date, only_users text[])
returns table (user_id text, seat_days numeric, gpu_hours numeric, cpu_hours numeric, hopsworks_cluster_id uuid)
language plpgsql stable
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
declare
  starts constant timestamptz := day::timestamp at time zone 'UTC';
  ends constant timestamptz := (day + 1)::timestamp at time zone 'UTC';
  names constant text[] := public.names_in_reservations(only_users);
begin
  return query
  -- The rows of the users asked for that have moved since the day began.
  with moved as (
    select 'assignment' as machine, a.id::text as row_id from hopsworks.user_hopsworks_assignments a
    where a.user_id = any (only_users) and a.status_since > starts
    union all
    select 'reservation', r.reservation_id from public.reservations r
    where r.user_id = any (names) and r.created_at < ends and r.status_since > starts
  ),
  -- What ended since the day began. A history is gap-free, so the move before the end is the one that began it; one
  -- that is no longer kept (022) was long ago.
  ended as (
    select h.machine, h.row_id, h.at as until, coalesce(
      (select p.at from public.status_history p
       where p.machine = h.machine and p.row_id = h.row_id and p.history_id < h.history_id
       order by p.history_id desc limit 1), '-infinity') as since
    from (
      select e.* from public.status_history e
      where only_users is null and e.machine in ('assignment', 'reservation')
      union all
      select e.* from moved join public.status_history e using (machine, row_id)
    ) h
    where h.from_status = 'active' and h.at > starts
  ),
  stays as (
    select a.user_id, coalesce(a.hopsworks_cluster_id, a.left_cluster_id) as cluster_id, e.since, e.until
    from ended e join hopsworks.user_hopsworks_assignments a on a.id = e.row_id::uuid
    where e.machine = 'assignment'
    union all
    select a.user_id, a.hopsworks_cluster_id, a.status_since, 'infinity'
    from hopsworks.user_hopsworks_assignments a
    where a.status = 'active' and (only_users is null or a.user_id = any (only_users))
  ),
  seats as (
    select s.user_id, (array_agg(s.cluster_id order by s.until desc))[1] as cluster_id,
      sum(extract(epoch from least(s.until, ends) - greatest(s.since, starts)) / 86400) as days
    from stays s
    where s.since < ends and s.until > starts
    group by s.user_id
  ),
  runs as (
    select r.user_id as name, r.gpu_type, r.gpu_count, e.since, e.until
    from ended e join public.reservations r on r.reservation_id = e.row_id
    where e.machine = 'reservation'
    union all
    select r.user_id, r.gpu_type, r.gpu_count, r.status_since, 'infinity'
    from public.reservations r
    where r.status = 'active' and (only_users is null or r.user_id = any (names))
  ),
  served as (
    select r.name, coalesce(r.gpu_count, 0) as gpus, coalesce(g.cpus, 0) as cpus,
      sum(extract(epoch from least(r.until, ends) - greatest(r.since, starts)) / 3600) as hours
    from runs r
    left join public.gpu_types g using (gpu_type)
    where r.since < ends and r.until > starts
    group by 1, 2, 3
  ),
  owners as (
    select o.owner_name as name, o.user_id
    from public.users_of_reservations(array(select distinct s.name::text from served s)) o
  ),
  parts as (
    select s.user_id, s.days, 0 as gpu_hours, 0 as cpu_hours, s.cluster_id from seats s
    union all
    select o.user_id, 0, s.gpus * s.hours, case when s.gpus = 0 then s.cpus * s.hours else 0 end, null
    from served s join owners o using (name)
    where only_users is null or o.user_id = any (only_users)
    union all
    select h.user_id, 0, h.gpu_hours, h.cpu_hours, null from hopsworks.usage_hours h
    where h.day = use_of_day.day and (only_users is null or h.user_id = any (only_users))
  )
  select p.user_id, sum(p.days), sum(p.gpu_hours), sum(p.cpu_hours),
    (array_agg(p.cluster_id) filter (where p.cluster_id is not null))[1]
  from parts p
  where p.user_id is not null
  group by p.user_id;
end
$$;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('hopsworks.health_check_failures', 'resolved_at', '90 days', false, 'resolved_at is not null'),
  ('hopsworks.accounts_to_close', 'closed_at', '30 days', false, 'closed_at is not null'),
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
