-- 141: the queue of heartbeats, and what both sorts of nodes need to have theirs taken.

select public.create_fleet_queue('node_heartbeats', array[
  'heartbeat']);

-- Whether what a node says of itself is an error. Called by both take_heartbeats.
create or replace function autoscaler.tells_error(said_status text, said_error text) returns boolean
language sql immutable parallel safe
as $$
  select coalesce(said_error, '') <> '' or (
    said_status ~* e'\\m(error|failed|failing|failure|fault|faulty|critical|unhealthy|crashed|crashing)\\M'
    and said_status !~* e'\\m(no|without) (error|failure|fault)\\M')
$$;

-- Counts heartbeats, each id once: the places of those that were not counted before. Of one id twice it is the
-- first. recent are those that are among the last ids of their nodes, whenever they say that they were sent. Called by
-- both take_heartbeats, which hold the nodes' locks: so a repeat that another worker has at the same time is seen here,
-- and one of the same day could not be counted twice anyhow. Days of before are looked into by the key, row by row, also
-- where a day was analyzed while it was empty; ids of before that have no sent_at (033), where there are any.
create or replace function public.count_heartbeats(
  ids uuid[], sent timestamptz[], places integer[], recent uuid[]) returns integer[]
language sql set enable_seqscan = off
as $$
  with told as (
    select distinct on (id) id, sent_at, place from unnest(ids, sent, places) as t (id, sent_at, place)
    order by id, place
  ), counted as (
    insert into public.heartbeat_ids (id, sent_at)
    select id, sent_at from told t
    where t.id not in (select unnest(recent))
      and not exists (select from public.heartbeat_ids h where h.sent_at = t.sent_at and h.id = t.id)
      and (not (select exists (select from public.heartbeat_ids where sent_at = '-infinity'))
        or (select true from public.heartbeat_ids h where h.sent_at = '-infinity' and h.id = t.id limit 1) is null)
    order by sent_at, id
    on conflict do nothing
    returning id
  )
  select coalesce(array_agg(place), '{}') from told join counted using (id)
$$;

-- The order of some heartbeats, each node's own: turn is 1 for the one that the node's status shall be from, 2 for the
-- one before it; null for one that came late, which is history. Given are arrays of one length: the heartbeats' places
-- and nodes, when they were sent by the node's clock and heard by ours, the same two times of the heartbeat that the
-- node's status is from until now, and how long a heartbeat may be on its way. Called by both take_heartbeats.
--
-- sent_at orders heartbeats of one node as long as they were heard within that time of each other. Where they were not,
-- none of them overtook the other on its way, and they came in the order in which they were sent, whatever sent_at says:
-- the node's clock was put back in between, or ahead. Where the known one was heard at a time that has not come yet, it was
-- our own clock that was put back: then all that is heard now is newer.
create or replace function public.order_heartbeats(
  places integer[], nodes text[], sent timestamptz[], heard timestamptz[], known_sent timestamptz[],
  known_heard timestamptz[], on_its_way interval[])
returns table (place integer, turn integer)
language sql stable
as $$
  select place, case when is_new then
    row_number() over (partition by node order by is_new desc, is_recent desc, sent_at desc, place desc) end
  from (
    select place, node, sent_at,
      case when known_sent_at is null or known_heard_at > public.fleet_now() then true
        when heard_at - known_heard_at between -on_its_way and on_its_way then sent_at > known_sent_at
        else heard_at > known_heard_at end as is_new,
      heard_at > max(heard_at) over (partition by node) - on_its_way as is_recent
    from unnest(places, nodes, sent, heard, known_sent, known_heard, on_its_way)
      as t (place, node, sent_at, heard_at, known_sent_at, known_heard_at, on_its_way)
  ) h
$$;

-- What the worker of this kind reads and writes, and who sends to it (163).
create or replace view public.rights_of_heartbeat (who, thing, may) as values
  ('worker', 'pgmq.q_node_heartbeats', 'work'),
  ('node', 'pgmq.q_node_heartbeats', 'send'),
  ('sender', 'pgmq.q_node_heartbeats', 'send'),
  ('worker', 'autoscaler.nodes', 'select, insert, update'),
  ('worker', 'autoscaler.pools', 'select, insert, update'),
  ('worker', 'autoscaler.schedules', 'select, insert, update'),
  ('worker', 'autoscaler.node_configurations', 'select'),
  ('worker', 'autoscaler.node_heartbeats', 'select, insert'),
  ('worker', 'autoscaler.metrics', 'select, insert'),
  ('worker', 'autoscaler.pool_analytics', 'select, insert'),
  ('worker', 'autoscaler.system_analytics', 'select, insert'),
  ('worker', 'public.heartbeat_ids', 'select, insert'),
  ('worker', 'public.node_keys', 'select (node_id, cluster_node_id, key_hash, valid_until)'),
  ('worker', 'public.offline_sweeps', 'select, insert, update'),
  ('worker', 'clusters.clusters', 'select, update'),
  ('worker', 'clusters.cluster_nodes', 'select, update'),
  ('worker', 'clusters.cluster_metrics', 'select, insert'),
  ('worker', 'clusters.cluster_events', 'select, insert'),
  ('worker', 'clusters.cluster_health', 'select'),
  ('worker', 'function autoscaler.answer_node(integer, jsonb)', 'execute'),
  ('serve', 'function autoscaler.add_node(jsonb, text, text)', 'execute'),
  ('serve', 'function autoscaler.change_node(integer, jsonb)', 'execute'),
  ('serve', 'function autoscaler.remove_node(integer)', 'execute'),
  ('serve', 'function public.rotate_node_key(text, text, text)', 'execute'),
  ('serve', 'function public.end_node_keys(text)', 'execute'),
  ('serve', 'function autoscaler.change_pool(bigint, jsonb)', 'execute'),
  ('serve', 'function autoscaler.set_schedule(integer, integer, jsonb)', 'execute'),
  ('serve', 'function autoscaler.remove_schedule(integer)', 'execute'),
  ('serve', 'function autoscaler.configurations_of(integer, bigint, integer)', 'execute'),
  ('serve', 'function autoscaler.configuration_text(integer, bigint)', 'execute'),
  ('serve', 'function autoscaler.add_configuration(integer, text, jsonb)', 'execute'),
  ('serve', 'function autoscaler.activate_configuration(integer, bigint)', 'execute'),
  ('serve', 'function public.principal_of_node_key(text)', 'execute'),
  ('serve', 'function public.send_node_heartbeats(jsonb, text[], integer)', 'execute'),
  ('serve', 'function clusters.call_as_operator(text, jsonb)', 'execute');
