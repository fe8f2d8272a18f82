-- What a worker asks of the outages (023, 104).

-- name: open
-- The open outages of what a queue's workers call, and of these dependencies, which others call.
select o.dependency, o.calls, o.code, o.reason from public.outages o
where o.ended_at is null and (o.queue = :queue or o.dependency = any(:dependencies::text[]))
union all
-- What an operator holds back, or a database that was restored (038): of whatever dependency.
select 'deletes', 'delete', 'DELETES_PAUSED', format('%s paused all deletions since %s%s', p.by_whom,
  to_char(p.since at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), ': ' || nullif(p.reason, ''))
from public.deletes_pause p;

-- name: spans
-- When each of these dependencies was out within the last days, as stretches that don't overlap.
select o.dependency, lower(span), upper(span)
from (
  select dependency, range_agg(tstzrange(began_at, greatest(began_at, coalesce(ended_at, public.fleet_now())))) as spans
  from public.outages
  where dependency = any(:dependencies::text[]) and calls <> 'delete'
    and (ended_at is null or ended_at > public.fleet_now() - interval '8 days')
  group by dependency) o, unnest(o.spans) span
where not isempty(span);

-- name: begin
-- Whether this worker is the first to say so.
select public.begin_outage(
  :dependency::text, :calls::text, :queue::text, :code::text, :reason::text, :longest::interval, :after::interval);

-- name: take_probes
-- What the caller is to ask now.
select dependency, calls from public.take_probes(:queue::text, :longest::interval);

-- name: note
-- Nothing.
select public.note_outage(:dependency::text, :calls::text, :code::text, :reason::text, :after::interval);

-- name: end
-- Whether it was open until now.
select public.end_outage(:dependency::text, :calls::text);

-- name: wake
-- How many messages.
select public.wake_held(:queue::text, :dependency::text, :most::bigint);
