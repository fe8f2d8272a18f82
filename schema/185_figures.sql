-- 185: figures of the fleet as it is now, counted no further than it matters, for metrics and for pages.

-- What waits in a queue. For each number at most `most` messages are looked at, from the one that is due first, so that it
-- costs the same however many wait. In hand: claimed by a worker, or put back by one until later. Called by fleet_figures,
-- queue_loads (192) and schema/reads/pictures/.
create or replace function public.queue_counts(queue text, most integer default 10000)
returns table (ready bigint, delayed bigint, in_hand bigint, oldest_ready_s double precision)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from public.fleet_queues q where q.queue_name = queue) then
    raise exception 'there is no queue %', left(queue, 60) using errcode = 'PF008';
  end if;
  return query execute format($query$
    with due as (
      select vt, enqueued_at from %1$s where vt <= public.fleet_now() order by vt, (msg_id + 0) limit $1
    ), later as (
      select read_ct from %1$s where vt > public.fleet_now() order by vt, (msg_id + 0) limit $1
    )
    select d.ready, l.delayed, l.in_hand, coalesce(extract(epoch from public.fleet_now() - d.since), 0)::float8
    from (select count(*) as ready, min(greatest(vt, enqueued_at)) as since from due) d,
      (select count(*) filter (where read_ct = 0) as delayed, count(*) filter (where read_ct > 0) as in_hand from later) l
  $query$, format('pgmq.%I', 'q_' || queue)) using most;
end
$$;
revoke execute on function public.queue_counts(text, integer) from public;

-- The tables that have a machine, each with its name. Read by fleet_figures.
create or replace view public.machine_tables as
select distinct n.nspname as schema_name, c.relname as table_name,
  convert_from(substring(t.tgargs from 1 for position('\x00'::bytea in t.tgargs) - 1), 'utf8') as machine
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
where t.tgname in ('log_moves', 'log_move') and n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters');

-- How many rows of a machine are in each of its states, counted up to `most` each. Called by fleet_figures.
create or replace function public.rows_by_state(of_machine text, most integer default 10000)
returns table (state text, number bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  place public.machine_tables;
begin
  select * into strict place from public.machine_tables m where m.machine = of_machine;
  return query execute format($query$
    select s.state, (select count(*) from (select from %I.%I r where r.status::text = s.state limit $2) counted)
    from (select distinct to_status as state from public.moves where machine = $1) s
  $query$, place.schema_name, place.table_name) using of_machine, most;
end
$$;
revoke execute on function public.rows_by_state(text, integer) from public;

-- How many dead letters nobody has answered, by queue and verdict (rejection, failure), each counted up to `most`; of every
-- queue of the fleet. It keeps to their index: where most letters are of one queue, it is taken for the usual one, and all
-- would be read for each of the others. Called by fleet_figures and schema/reads/pictures/.
create or replace function public.open_letters(most integer default 10000)
returns table (queue text, verdict text, number bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select q.queue_name, v.verdict, (
    select count(*) from (
      select from public.dead_letters d
      where d.queue = q.queue_name collate "default" and d.answered_at is null and d.verdict = v.verdict limit most) counted)
  from public.fleet_queues q, (values ('rejection'), ('failure')) v (verdict)
$$;
revoke execute on function public.open_letters(integer) from public;

-- All figures, each of a thing (a queue, a machine, a GPU type), some in several states. Ages are in seconds. Read by
-- who serves metrics, and kept over time by keep_figures.
--   queue_messages          ready, delayed, in_hand      oldest_ready_age_seconds
--   queue_flow              in, out: messages since the server began to count (135)
--   dead_letters            rejection, failure: those that nobody has answered
--   rows                    of a machine, in each of its states
--   gpus                    total, held, free (on nodes that can be used, or of the total where no node is known), waiting
--   oldest_wait_seconds     of whoever has waited for GPUs of the type for longest
--   paused                  1: an operator holds back the queue, or all deletions outside
--   feed_held_seconds       how long a transaction has kept events back
create or replace function public.fleet_figures(most integer default 10000)
returns table (figure text, about text, state text, value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  with loads as (
    select q.queue_name, l.* from public.fleet_queues q cross join lateral public.queue_counts(q.queue_name, most) l
  ), lines as (
    select w.gpu_type, sum(w.gpu_count)::float8 as gpus, min(w.waiting_since) as since
    from (select gpu_type, gpu_count, waiting_since from public.reservations
          where status in ('pending', 'queued') and gpu_count is not null and start_at is null
          limit most) w
    group by w.gpu_type
  ), gpus as (
    select g.gpu_type, coalesce(g.total_cluster_gpus, 0) as total, g.held_gpus as held,
      greatest(case when r.is_seen then least(r.unheld, (select sum(f) from unnest(r.free) f)) else r.unheld end, 0) as free
    from public.gpu_types g join public.gpu_rooms r using (gpu_type)
    where g.is_active
  )
  select 'queue_messages', l.queue_name, s.state, s.value::float8
  from loads l cross join lateral (values ('ready', l.ready), ('delayed', l.delayed), ('in_hand', l.in_hand)) s (state, value)
  union all
  select 'oldest_ready_age_seconds', l.queue_name, '', l.oldest_ready_s from loads l
  union all
  select 'queue_flow', f.queue, f.state, f.number::float8 from public.queue_flow f
  union all
  select 'dead_letters', d.queue, d.verdict, d.number::float8 from public.open_letters(most) d
  union all
  select 'rows', m.machine, r.state, r.number from public.machine_tables m cross join lateral public.rows_by_state(m.machine, most) r
  union all
  select 'gpus', g.gpu_type, s.state, s.value
  from gpus g left join lines l using (gpu_type)
  cross join lateral (values ('total', g.total), ('held', g.held), ('free', g.free), ('waiting', coalesce(l.gpus, 0))) s (state, value)
  union all
  select 'oldest_wait_seconds', g.gpu_type, '', coalesce(extract(epoch from public.fleet_now() - l.since), 0)
  from gpus g left join lines l using (gpu_type)
  union all
  select 'paused', p.what, '', 1 from public.pauses p
  union all
  select 'feed_held_seconds', '', '', coalesce(h.held_s, 0) from (select max(f.held_s) as held_s from public.feed_held() f) h
$$;
revoke execute on function public.fleet_figures(integer) from public;

-- Whether this process counts for all, from now on and for so long: one does, so that nothing is counted twice. Called by
-- every process that serves metrics, before it counts.
create or replace function public.take_figures(me text, for_s integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if me is null or for_s not between 1 and 600 then
    perform public.refuse_value('for_s', for_s::text, 'from 1 to 600');
  end if;
  insert into public.figures_lease as l (holder, until)
  values (left(me, 200), public.fleet_now() + make_interval(secs => for_s))
  on conflict (only_one) do update set holder = excluded.holder, until = excluded.until
    where l.holder = excluded.holder or l.until < public.fleet_now();
  return found;
end
$$;
revoke execute on function public.take_figures(text, integer) from public;

-- Keeps what has no history of its own, at most every five minutes: these figures, and the health score of each cluster. Called
-- by whoever counts.
create or replace function public.keep_figures() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  now_at constant timestamptz := date_bin('5 minutes', public.fleet_now(), 'epoch');
begin
  -- Asked first: it is called every few seconds, and to count costs more than all else here.
  if exists (select from public.figures k where k.at = now_at) then
    return;
  end if;
  insert into public.figures (at, figure, about, state, value)
  select now_at, f.figure, f.about, f.state, f.value from public.fleet_figures() f
  where f.figure in ('gpus', 'oldest_wait_seconds', 'queue_messages', 'queue_flow', 'dead_letters')
  union all
  select now_at, 'cluster_score', c.cluster_id, '', c.health_score from clusters.clusters c where c.status <> 'decommissioning'
  on conflict do nothing;
end
$$;
revoke execute on function public.keep_figures() from public;
