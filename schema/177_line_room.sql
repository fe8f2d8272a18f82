-- 177: the lines of reservations (174) in their order, and what they wait for. Asked by the worker that serves a line, by
-- the dry run, and by whoever is told where a reservation stands; `schema/line/` plans with it.

-- What stands in a line: one reservation, or a gang, of which the first node stands for all. Those that are paused or
-- kept by a disk let others pass. in_line: how many rows of it wait and are neither.
create or replace view public.line_units as
select w.gpu_type, w.reservation_id, w.user_id, w.gpu_count, w.duration_hours, w.nodes, w.waiting_since, w.line_number,
  w.start_at, w.is_lost, w.promised_at, w.promised_nodes,
  case when w.nodes = 1 then 1 else (
    select count(*)::integer from public.waiting_reservations g
    where g.reservation_id in (
        select m.reservation_id from public.reservations m where m.master_reservation_id = w.reservation_id)
      and not g.is_paused and not g.is_kept) end as in_line
from public.waiting_reservations w
where w.is_first and not w.is_paused and not w.is_kept;

-- GPU hours of each user: those of the last 24 hours, and those to come, of 24 hours at most, of what they hold.
create or replace view public.gpu_shares as
select h.gpu_type, h.user_id,
  sum(h.gpus * greatest(extract(epoch from least(h.until, public.fleet_now() + interval '24 hours')
    - greatest(h.since, public.fleet_now() - interval '24 hours')), 0) / 3600)::float8 as gpu_hours
from (
  select r.gpu_type, r.user_id, r.gpus_held as gpus, coalesce(r.admitted_at, r.status_since) as since,
    coalesce(r.expires_at, public.fleet_now() + make_interval(secs => r.duration_hours * 3600)) as until
  from public.reservations r where r.reservation_ended is null and r.gpus_held > 0
  union all
  select r.gpu_type, r.user_id, r.gpu_count, coalesce(r.admitted_at, r.launched_at), r.status_since
  from public.reservations r
  where r.reservation_ended > public.fleet_now() - interval '24 hours' and r.launched_at is not null and r.gpus_held = 0
) h
group by h.gpu_type, h.user_id;

-- The lines in their order with fair share: stands counts from 1 in each. The hours of all users are summed up at once, and
-- then each found by its name: joined, they would be gone through, or summed up anew, for each who waits, where
-- statistics are of an empty table.
create or replace view public.fair_units as
select s.*, row_number() over (
  partition by s.gpu_type
  order by s.starves desc,
    case when s.starves then s.waiting_since else s.waiting_since + make_interval(secs => s.hours_later * 3600) end,
    s.line_number, s.reservation_id) as stands
from (
  select u.*, u.waiting_since < public.fleet_now() - r.starving_after as starves,
    (coalesce(((
      select jsonb_object_agg(concat_ws(' ', h.gpu_type, h.user_id), h.gpu_hours) from public.gpu_shares h
    ) ->> concat_ws(' ', u.gpu_type, u.user_id))::float8, 0) + coalesce(sum(u.gpu_count * u.nodes * u.duration_hours) over (
      partition by u.gpu_type, u.user_id order by u.waiting_since, u.line_number, u.reservation_id
      rows between unbounded preceding and 1 preceding), 0)) / greatest(g.total_cluster_gpus, 1) as hours_later
  from public.line_units u
  join public.gpu_types g on g.gpu_type = u.gpu_type
  cross join public.line_settings r
  where u.start_at is null) s;

-- The first of each line, in the order in which they are let in (044 says how it is made), and the first of those that are
-- small enough for what is free now: they may pass the others. `most` is null for all. place counts from 1 in each. Who
-- has waited for too long is first. With fair share, others stand as if they had come later: by as many hours as all GPUs
-- of the type would have been theirs, of what they hold, held in the last day, and asked for before. Those that are booked
-- stand in no line: see `booked_units`.
create or replace function public.fronts_of_lines(of_types text[], most integer)
returns table (
  gpu_type text, place bigint, reservation_id text, gpu_count integer, duration_hours float8, nodes integer,
  in_line integer, waiting_since timestamptz, start_at timestamptz, is_starving boolean, is_lost boolean,
  promised_at timestamptz, promised_nodes jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
  -- A line is read from its front in the order of its index, and not all of it to be sorted, whatever statistics say.
  set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
declare
  rules public.line_settings;
  its record;
begin
  select * into rules from public.line_settings;
  -- Pods are read once for all lines.
  for its in
    select t.name, coalesce(m.unheld, 0) as room, case when m.is_seen then m.most_free else m.unheld end as on_a_node
    from unnest(of_types) t (name)
    left join public.gpu_rooms m on m.gpu_type = t.name
  loop
    if not coalesce(rules.fair_share, false) then
      return query
        with first as materialized (
          select u.* from public.line_units u where u.gpu_type = its.name and u.start_at is null
          order by u.waiting_since, u.line_number, u.reservation_id limit most),
        -- Nothing is sought where nothing is free.
        small as materialized (
          select u.* from public.line_units u
          where most is not null and its.room > 0 and u.gpu_type = its.name and u.start_at is null
            and u.gpu_count * u.nodes <= its.room and u.gpu_count <= its.on_a_node
          order by u.waiting_since, u.line_number, u.reservation_id limit most)
        select its.name, row_number() over (order by u.waiting_since, u.line_number, u.reservation_id),
          u.reservation_id::text, u.gpu_count, u.duration_hours, u.nodes, u.in_line, u.waiting_since, u.start_at,
          coalesce(u.waiting_since < public.fleet_now() - rules.starving_after, false), u.is_lost, u.promised_at,
          u.promised_nodes
        from (select * from first union select * from small) u
        order by 2;
    else
      return query
        with ordered as (select f.* from public.fair_units f where f.gpu_type = its.name),
        small as (
          select o.stands from ordered o
          where most is not null and its.room > 0 and o.gpu_count * o.nodes <= its.room and o.gpu_count <= its.on_a_node
          order by o.stands limit most)
        select its.name, o.stands, o.reservation_id::text, o.gpu_count, o.duration_hours, o.nodes, o.in_line,
          o.waiting_since, o.start_at, o.starves, o.is_lost, o.promised_at, o.promised_nodes
        from ordered o
        where most is null or o.stands <= most or o.stands in (select s.stands from small s)
        order by o.stands;
    end if;
  end loop;
end
$$;
revoke execute on function public.fronts_of_lines(text[], integer) from public;

-- How many units go before one that waits, as far as that can be counted without a plan: those before it in its line, and
-- those that are booked for by now. Of one that stands in no line now, paused or kept by its disk, those that came before
-- it. Asked for whoever watches one that is far behind.
create or replace function public.ahead_in_line(of_unit text) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  mine public.reservations;
  found bigint;
  due bigint;
begin
  select * into mine from public.reservations r where r.reservation_id = of_unit;
  select count(*) into due from public.line_units u
  where u.gpu_type = mine.gpu_type and u.start_at <= public.fleet_now() and not u.is_lost;
  if (select s.fair_share from public.line_settings s) then
    select f.stands - 1 into found from public.fair_units f
    where f.gpu_type = mine.gpu_type and f.reservation_id = of_unit;
  end if;
  if found is null then
    select count(*) into found from public.line_units u
    where u.gpu_type = mine.gpu_type and u.start_at is null and not u.is_lost
      and (u.waiting_since, u.line_number, u.reservation_id)
        < (mine.waiting_since, mine.line_number, mine.reservation_id);
  end if;
  return found + due;
end
$$;
revoke execute on function public.ahead_in_line(text) from public;

-- Those that are booked, until they start: their GPUs are kept free from start_at on.
create or replace view public.booked_units as
select u.gpu_type, u.reservation_id::text, u.gpu_count, u.duration_hours, u.nodes, u.in_line, u.waiting_since, u.start_at,
  false as is_starving, u.is_lost, u.promised_at, u.promised_nodes
from public.line_units u where u.start_at is not null;
