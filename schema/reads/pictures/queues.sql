-- What pages show of queues: now, and over the last 24 hours.

-- name: queues
-- One row a queue: how much waits, each counted up to `most`; its open dead letters; what has come in and gone out since the
-- server began to count; and how much that was a minute, since the figures that were kept 5 to 30 minutes ago.
select q.queue_name as queue, c.ready, c.delayed, c.in_hand, case when c.ready > 0 then c.oldest_ready_s end as oldest_ready_s,
  d.rejected, d.failed, r.in_a_minute, r.out_a_minute
from public.fleet_queues q
cross join lateral public.queue_counts(q.queue_name, :most::integer) c
join (
  select l.queue, max(l.number) filter (where l.verdict = 'rejection') as rejected,
    max(l.number) filter (where l.verdict = 'failure') as failed
  from public.open_letters(:most::integer) l group by l.queue) d on d.queue = q.queue_name
cross join lateral (
  select max(k.a_minute) filter (where k.state = 'in') as in_a_minute, max(k.a_minute) filter (where k.state = 'out') as out_a_minute
  from (
    select distinct on (f.state) f.state,
      greatest(f.number - b.value, 0) * 60 / extract(epoch from public.fleet_now() - b.at)::float8 as a_minute
    from public.queue_flow f
    join public.figures b on b.figure = 'queue_flow' and b.about = f.queue and b.state = f.state
    where f.queue = q.queue_name
      and b.at between public.fleet_now() - interval '30 minutes' and public.fleet_now() - interval '5 minutes'
    order by f.state, b.at desc) k) r
order by q.queue_name;

-- name: open_letters
-- How many dead letters are open, by queue and verdict, each counted up to `most`; those of which there are any.
select l.queue, l.verdict, l.number from public.open_letters(:most::integer) l
where l.number > 0 order by l.verdict, l.number desc, l.queue;

-- name: depth_over_time
-- Of each queue, every quarter of an hour of the last 24: the most that was ready.
select f.about as queue, date_bin('15 minutes', f.at, 'epoch') as at, max(f.value) as value
from public.figures f
where f.figure = 'queue_messages' and f.state = 'ready' and f.at > public.fleet_now() - interval '24 hours'
group by 1, 2 order by 1, 2;

-- name: flow_over_time
-- Of each queue, every quarter of an hour of the last 24: how many messages a minute came in, and went out. What a restart of
-- the counting makes negative is left out.
select c.queue, c.state, date_bin('15 minutes', c.at, 'epoch') as at, sum(c.number) * 60 / sum(c.seconds) as value
from (
  select f.about as queue, f.state, f.at, f.value - lag(f.value) over earlier as number,
    extract(epoch from f.at - lag(f.at) over earlier)::float8 as seconds
  from public.figures f
  where f.figure = 'queue_flow' and f.at > public.fleet_now() - interval '24 hours'
  window earlier as (partition by f.about, f.state order by f.at)) c
where c.number >= 0
group by 1, 2, 3 order by 1, 2, 3;

-- name: workers
-- Processes that have told within the last hour that they work, by their queue; how long ago each was heard of.
select w.worker, w.queue, w.version, w.in_hand, w.started_at, w.seen_at,
  extract(epoch from public.fleet_now() - w.seen_at)::float8 as silent_s
from public.workers w
where w.seen_at > public.fleet_now() - interval '1 hour'
order by w.queue, w.worker limit :most::integer;
