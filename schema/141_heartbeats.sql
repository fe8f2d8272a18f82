-- 141: the queue of heartbeats, and what both sorts of nodes need to have theirs taken.

select public.create_fleet_queue('node_heartbeats');

-- Whether what a node says of itself is an error. Called by both take_heartbeats.
create or replace function autoscaler.tells_error(said_status text, said_error text) returns boolean
language sql immutable parallel safe
as $$
  select coalesce(said_error, '') <> '' or (
    said_status ~* '\m(error|failed|failing|failure|fault|faulty|critical|unhealthy|crashed|crashing)\M'
    and said_status !~* '\m(no|without) (error|failure|fault)\M')
$$;

-- Counts heartbeats, each id once: the places of those that were not counted before. Of one id twice it is the
-- first. Called by both take_heartbeats.
create or replace function public.count_heartbeats(ids uuid[], places integer[]) returns integer[]
language sql
as $$
  with told as (
    select distinct on (id) id, place from unnest(ids, places) as t (id, place) order by id, place
  ), counted as (
    insert into public.heartbeat_ids (id, at)
    select id, public.fleet_now() from told order by id
    on conflict (id) do nothing
    returning id
  )
  select coalesce(array_agg(place), '{}') from told join counted using (id)
$$;
