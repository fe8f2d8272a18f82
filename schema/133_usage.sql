-- 133: what users have used, for their bills.

-- Adds new samples to their days; ids that are no user's are left out. In key order, so that two samples with the
-- same users don't deadlock. A trigger of hopsworks.usage_samples.
create or replace function hopsworks.add_usage_hours() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
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

revoke execute on function hopsworks.add_usage_hours() from public;

create or replace trigger add_usage_hours after insert on hopsworks.usage_samples
  referencing new table as new_rows for each statement execute function hopsworks.add_usage_hours();

-- The hopsworks users whose reservations these are: named by id or e-mail, or by the name of an API user with the
-- same e-mail. Null where it is nobody known. Reads names that a worker may not. Called by use_of_day.
create or replace function public.users_of_reservations(owner_names text[])
returns table (owner_name text, user_id text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set enable_nestloop = off
as $$
  with mailboxes as materialized (
    select lower(u.email) as email, min(u.id) as user_id from hopsworks.users u group by 1
  )
  select n.name, case
    -- A name of the API is that user's, whatever else it looks like.
    when p.username is not null then of_api.user_id
    else coalesce(u.id, named.user_id) end
  from unnest(owner_names) n (name)
  left join public.api_users p on p.username = n.name
  left join mailboxes of_api on of_api.email = lower(p.email)
  left join hopsworks.users u on u.id = n.name
  left join mailboxes named on named.email = lower(n.name)
$$;

revoke execute on function public.users_of_reservations(text[]) from public;

-- The other way round: every name under which reservations may be one of these users'. Where a name could be several
-- users', users_of_reservations says whose it is. Reads names that a worker may not. Called by use_of_day.
create or replace function public.names_in_reservations(of_users text[]) returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  with people as (select u.id, lower(u.email) as email from hopsworks.users u where u.id = any (of_users))
  select array(
    select id from people
    union select email from people
    union select r.user_id from public.reservations r
    where lower(r.user_id) = any (array(select email from people)) and r.user_id <> lower(r.user_id)
    union select d.user_id from public.disks d
    where lower(d.user_id) = any (array(select email from people)) and d.user_id <> lower(d.user_id)
    union select p.username from public.api_users p where lower(p.email) = any (array(select email from people)))
$$;

revoke execute on function public.names_in_reservations(text[]) from public;

-- As it was before it counted disks: what a function returns can't be replaced.
-- squawk-ignore ban-drop-function
drop function if exists hopsworks.use_of_day(date, text[]);

-- Who used what on one day (UTC), a row per user with anything: the share of the day with a seat, GPU hours and CPU
-- hours of reservations, what the clusters' metrics said, and gigabytes of disks, as the part of their month that the
-- day is. only_users null for everybody. A row was in use while it was `active`, a disk while it was there for its user
-- (`available` or `attached`): as its moves say, and for what still is, as it says itself. Planned for each call, as
-- everybody and a few have little in common. Called by the assignment worker once an hour or so, and by the console.
create function hopsworks.use_of_day(day date, only_users text[])
returns table (user_id text, seat_days numeric, gpu_hours numeric, cpu_hours numeric, hopsworks_cluster_id uuid,
  storage_gb_months numeric)
language plpgsql stable
set plan_cache_mode = 'force_custom_plan'
set enable_nestloop = off
as $$
#variable_conflict use_column
declare
  starts constant timestamptz := day::timestamp at time zone 'UTC';
  ends constant timestamptz := (day + 1)::timestamp at time zone 'UTC';
  names constant text[] := public.names_in_reservations(only_users);
  days_of_month constant integer := extract(day from date_trunc('month', day) + interval '1 month - 1 day');
begin
  return query
  -- The rows of the users asked for that have moved since the day began.
  with moved as (
    select 'assignment' as machine, a.id::text as row_id from hopsworks.user_hopsworks_assignments a
    where a.user_id = any (only_users) and a.status_since > starts
    union all
    select 'reservation', r.reservation_id from public.reservations r
    where r.user_id = any (names) and r.created_at < ends and r.status_since > starts
    union all
    select 'disk', d.disk_id::text from public.disks d
    where d.user_id = any (names) and d.status_since > starts
  ),
  -- What ended since the day began. A history is gap-free, so the move before the end is the one that began it; one
  -- that is no longer kept (010) was long ago.
  ended as (
    select h.machine, h.row_id, h.at as until, coalesce(
      (select p.at from public.status_history p
       where p.machine = h.machine and p.row_id = h.row_id and p.history_id < h.history_id
       order by p.history_id desc limit 1), '-infinity') as since
    from (
      select e.* from public.status_history e
      where only_users is null and e.machine in ('assignment', 'reservation', 'disk')
      union all
      -- By arrays: joined, all that has moved since would be read for a few users.
      select e.* from public.status_history e
      where e.machine = any (array(select m.machine from moved m)) and e.row_id = any (array(select m.row_id from moved m))
        and ((e.machine, e.row_id) in (select m.machine, m.row_id from moved m)) is true
    ) h
    where h.from_status in ('active', 'available', 'attached') and h.at > starts
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
  kept as (
    select d.user_id as name, d.size_gb, e.since, e.until
    from ended e join public.disks d on d.disk_id = e.row_id::uuid
    where e.machine = 'disk'
    union all
    select d.user_id, d.size_gb, d.status_since, 'infinity'
    from public.disks d
    where d.status in ('available', 'attached') and (only_users is null or d.user_id = any (names))
  ),
  stored as (
    select k.name,
      sum(k.size_gb * extract(epoch from least(k.until, ends) - greatest(k.since, starts)) / 86400) / days_of_month
        as gb_months
    from kept k
    where k.since < ends and k.until > starts
    group by k.name
  ),
  owners as (
    select o.owner_name as name, o.user_id
    from public.users_of_reservations(
      array(select s.name::text from served s union select k.name::text from stored k)) o
  ),
  parts as (
    select s.user_id, s.days, 0 as gpu_hours, 0 as cpu_hours, s.cluster_id, 0 as gb_months from seats s
    union all
    select o.user_id, 0, s.gpus * s.hours, case when s.gpus = 0 then s.cpus * s.hours else 0 end, null, 0
    from served s join owners o using (name)
    where only_users is null or o.user_id = any (only_users)
    union all
    select o.user_id, 0, 0, 0, null, k.gb_months
    from stored k join owners o using (name)
    where only_users is null or o.user_id = any (only_users)
    union all
    select h.user_id, 0, h.gpu_hours, h.cpu_hours, null, 0 from hopsworks.usage_hours h
    where h.day = use_of_day.day and (only_users is null or h.user_id = any (only_users))
  )
  select p.user_id, sum(p.days), sum(p.gpu_hours), sum(p.cpu_hours),
    (array_agg(p.cluster_id) filter (where p.cluster_id is not null))[1], sum(p.gb_months)
  from parts p
  where p.user_id is not null
  group by p.user_id;
end
$$;
