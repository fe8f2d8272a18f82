-- 142: a whole claim of heartbeats of autoscaler nodes in one call. The worker (workers/heartbeat/machine.py) reads
-- and checks the messages, and calls it in the transaction that deletes them.

-- The unit of a metric, by the last word of its name. Called by autoscaler.take_heartbeats.
create or replace function autoscaler.unit_of(metric text) returns text
language sql immutable parallel safe
as $$
  select case substring(lower(metric) from '[a-z]+$')
    when 'percent' then 'percent' when 'utilization' then 'percent'
    when 'bytes' then 'bytes' when 'gb' then 'gigabytes' when 'mb' then 'megabytes'
    when 'seconds' then 'seconds' when 's' then 'seconds' when 'ms' then 'milliseconds'
    else 'count'
  end
$$;

-- When a heartbeat measured, by our clock, as seed 002 writes times; what was heard more than a day ago is written as a
-- day old, so that no row is among those that are pruned already. Called by autoscaler.take_heartbeats and take_pools.
create or replace function autoscaler.measured_at(heard_at timestamptz) returns timestamp
language sql stable parallel safe
as $$ select greatest(heard_at, public.fleet_now() - interval '1 day') at time zone 'UTC' $$;

-- Answered in the queue that a node named, whosesoever it was.
-- squawk-ignore ban-drop-function
drop function if exists autoscaler.answer_drift(text, jsonb);

-- Answers a node that runs another configuration than it should, in its own queue, which is made with its first answer.
-- The newest answer is all that is kept there: the same one is not sent twice, and others are out of date. Returns false
-- where the queue is not for us, or somebody holds it (its reader may): then the heartbeat counts all the same, and the next
-- one is answered. Called by tell_drift.
create or replace function autoscaler.answer_node(node_id integer, answer jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
declare
  queue constant text := public.reply_queue(node_id::text);
  waiting constant text := format('pgmq.%I', 'q_' || queue);
  -- More than one only where its reader holds them.
  most constant integer := 10;
  has_room boolean;
begin
  if to_regclass(waiting) is null then
    perform public.create_queue(queue);
  else
    execute format('lock table %s in row exclusive mode nowait', waiting);
  end if;
  execute format(
    'delete from %1$s where msg_id = any (array(
       select msg_id from %1$s where message is distinct from $1 order by msg_id limit $2 for update skip locked))', waiting)
  using answer, 2 * most;
  execute format(
    'select count(*) < $2 and not coalesce(bool_or(message = $1), false) from (select message from %s limit $2) q', waiting)
  into has_room using answer, most;
  if has_room then
    perform pgmq.send(queue, answer);
  end if;
  return true;
exception when insufficient_privilege or undefined_table or lock_not_available then
  return false;
end
$$;

revoke execute on function autoscaler.answer_node(integer, jsonb) from public;

-- Takes heartbeats of autoscaler nodes, an array of messages as their JSON Schema has them, and when each was heard; a
-- node may be silent as long as silence has it. Returns a row for each that is not simply counted, with its place in the
-- array (from 0): 'wait' (its node is not known, yet), 'done' (a deleted node, or counted before), 'note' (it counted,
-- but part of it was refused), 'skew' (it counted, and with it the node's clock is off by so much that it is told; only
-- with heard), 'held' (somebody has its node in an open transaction: to be taken later; only with skip_held, else the
-- call waits). Called by the heartbeat worker.
create or replace function autoscaler.take_heartbeats(
  beats jsonb, skip_held boolean default false, heard timestamptz[] default null,
  silence interval default '5 minutes')
returns table (place integer, verdict text, reason text)
language plpgsql
as $$
#variable_conflict use_column
declare
  fleet_time constant timestamptz := public.fleet_now();
  said autoscaler.heartbeat[];
  ours integer[];
  fresh integer[];
begin
  select array_agg(row(b.place - 1, b.id, b.node_id, b.sent_at, b.status, nullif(b.error_message, ''), b.config_hash,
    b.metrics, b.pools, b.reply_to, least(b.heard_at, fleet_time), null)::autoscaler.heartbeat)
  into said
  from rows from (jsonb_to_recordset(beats) as (id uuid, node_id integer, sent_at timestamptz, status text,
    error_message text, config_hash text, metrics jsonb, pools jsonb, reply_to text), unnest(heard)) with ordinality
    b (id, node_id, sent_at, status, error_message, config_hash, metrics, pools, reply_to, heard_at, place);

  if skip_held then
    select array_agg(id) into ours from (
      select id from autoscaler.nodes where id = any (array(select node_id from unnest(said)))
      order by id for no key update skip locked) n;
  else
    select array_agg(id) into ours from (
      select id from autoscaler.nodes where id = any (array(select node_id from unnest(said)))
      order by id for no key update) n;
  end if;
  return query
    select s.place,
      case when n.id is null then 'wait' when n.deleted_at is not null then 'done' else 'held' end,
      case when n.id is null then format('there is no node %s', s.node_id)
        when n.deleted_at is not null then format('node %s was deleted', s.node_id)
        else format('node %s is held by somebody', s.node_id) end
    from unnest(said) s left join autoscaler.nodes n on n.id = s.node_id
    where n.id is null or n.deleted_at is not null or (n.id = any (ours)) is not true;
  if found then
    select array_agg(s order by s.place) into said
    from unnest(said) s join autoscaler.nodes n on n.id = s.node_id
    where n.deleted_at is null and n.id = any (ours);
  end if;

  fresh := public.count_heartbeats(array(select s.id from unnest(said) s), array(select s.sent_at from unnest(said) s),
    array(select s.place from unnest(said) s),
    -- `is true` keeps it out of a join: they are looked up in a hash.
    array(
      select r.id from autoscaler.nodes n cross join lateral unnest(n.recent_ids) as r (id)
      where n.id = any (ours) and (r.id in (select s.id from unnest(said) s)) is true));
  if cardinality(fresh) < cardinality(said) then
    return query select s.place, 'done', 'counted before' from unnest(said) s where not s.place = any (fresh);
    select array_agg(s order by s.place) into said from unnest(said) s where s.place = any (fresh);
  end if;
  if said is null then
    return;
  end if;
  with known as (
    select public.order_heartbeats(array_agg(s.place), array_agg(s.node_id::text), array_agg(s.sent_at),
      array_agg(s.heard_at), array_agg(n.report_sent_at), array_agg(n.report_heard_at), array_agg(silence / 2)) as o
    from unnest(said) s join autoscaler.nodes n on n.id = s.node_id
  )
  select array_agg(row(s.place, s.id, s.node_id, s.sent_at, s.status, s.error_message, s.config_hash, s.metrics,
    s.pools, s.reply_to, s.heard_at, (k.o).turn)::autoscaler.heartbeat order by s.place)
  into said
  from known k join unnest(said) s on s.place = (k.o).place;

  insert into autoscaler.node_heartbeats
    (node_id, config_hash, status, error_message, metrics_data, timestamp, heartbeat_id, sent_at)
  select s.node_id, s.config_hash, s.status, s.error_message, s.metrics::text, autoscaler.measured_at(s.heard_at),
    s.id, s.sent_at
  from unnest(said) s;

  insert into autoscaler.metrics (node_id, metric_type, value, unit, timestamp)
  select s.node_id, m.key, m.value::float8, autoscaler.unit_of(m.key), autoscaler.measured_at(s.heard_at)
  from unnest(said) s cross join lateral jsonb_each(s.metrics) m
  where jsonb_typeof(m.value) = 'number';

  -- While a node's row is as it was locked, a row that refers to it locks it no more; once changed, it is locked anew.
  return query select * from autoscaler.take_pools(said, skip_held);
  return query select * from autoscaler.take_reports(said, heard is not null);
  perform autoscaler.tell_drift(said);
end
$$;

-- What some heartbeats say of their nodes: that they are alive, how far their clocks are off, and, where they are the
-- newest, how the nodes are. Returns a row with 'skew' for a node whose clock is off so far that it is told, where it was
-- not before; only with tell_skew, as a worker of an older version does not know that word. Called by
-- autoscaler.take_heartbeats.
create or replace function autoscaler.take_reports(said autoscaler.heartbeat[], tell_skew boolean)
returns table (place integer, verdict text, reason text)
language plpgsql
as $$
#variable_conflict use_column
declare
  odd integer[];
begin
  update autoscaler.nodes n set status = 'ACTIVE', status_reason = 'first heartbeat'
  where n.status = 'INACTIVE' and n.id = any (array(select node_id from unnest(said)));

  -- The clocks that may have to be told of after these heartbeats, and were not before: mostly none.
  odd := array(
    select distinct s.node_id from unnest(said) s
    where tell_skew and public.is_far_off(extract(epoch from s.heard_at - s.sent_at)::float8));
  if odd <> '{}' then
    odd := array(select id from autoscaler.nodes where id = any (odd) and not public.tells_skew(skews));
  end if;

  -- A row for each node: its newest report (turn 1), or where all came late one of them (turn null). Nodes are found by an
  -- array of them, so that with statistics of an empty table not all of them are read for each.
  with report as (
    select distinct on (s.node_id) s.*, max(s.heard_at) over of_node as last_heard_at,
      array_agg(extract(epoch from s.heard_at - s.sent_at)::real) over of_node as skews,
      array_agg(s.id) over of_node as ids,
      autoscaler.tells_error(s.status, s.error_message) as tells_error
    from unnest(said) s
    window of_node as (
      partition by s.node_id order by s.place desc rows between unbounded preceding and unbounded following)
    order by s.node_id, s.turn
  ), alive as (
    update autoscaler.nodes n set
      last_heartbeat = greatest(public.heard_at(n.last_heartbeat at time zone 'UTC', null), r.last_heard_at)
        at time zone 'UTC',
      skews = (r.skews || n.skews)[:10],
      recent_ids = (r.ids || n.recent_ids)[:10]
    from report r
    where n.id = any (array(select s.node_id from unnest(said) s)) and n.id = r.node_id and r.turn is null
  )
  update autoscaler.nodes n set
    last_heartbeat = greatest(public.heard_at(n.last_heartbeat at time zone 'UTC', null), r.last_heard_at)
        at time zone 'UTC',
    skews = (r.skews || n.skews)[:10],
    recent_ids = (r.ids || n.recent_ids)[:10],
    report_sent_at = r.sent_at,
    report_heard_at = r.heard_at,
    config_hash = coalesce(r.config_hash, n.config_hash),
    error_message = r.error_message,
    status = case
      -- Heard well before it was marked: it says nothing of how the node is now.
      when n.status = 'OFFLINE' and r.heard_at < least(n.status_since, public.fleet_now()) - interval '30 seconds' then 'OFFLINE'
      when r.tells_error then 'ERROR' else 'ACTIVE' end::autoscaler.node_status,
    status_reason = case
      when n.status = 'OFFLINE' and r.heard_at < least(n.status_since, public.fleet_now()) - interval '30 seconds' then n.status_reason
      when r.tells_error <> (n.status = 'ERROR') or n.status = 'OFFLINE'
        then left(coalesce(r.error_message, 'it reports: ' || r.status), 1000)
      else n.status_reason end
  from report r
  where n.id = any (array(select s.node_id from unnest(said) s)) and n.id = r.node_id and r.turn is not null;

  if odd <> '{}' then
    return query
      select max(s.place), 'skew', format('its clock is %s', public.skew_in_words(n.skews))
      from unnest(said) s join autoscaler.nodes n on n.id = s.node_id
      where n.id = any (odd) and public.tells_skew(n.skews)
      group by n.id;
  end if;
end
$$;

-- Answers those of some heartbeats whose node should run another configuration. Called by
-- autoscaler.take_heartbeats.
create or replace function autoscaler.tell_drift(said autoscaler.heartbeat[]) returns void
language sql
as $$
  select autoscaler.answer_node(l.node_id, jsonb_build_object(
    'node_id', l.node_id, 'config_update_needed', true, 'current_config_hash', c.config_hash,
    'new_config', c.yaml_config))
  from unnest(said) l
  join autoscaler.nodes n on n.id = l.node_id
  cross join lateral (
    select * from autoscaler.node_configurations c where c.node_id = l.node_id and c.is_active
    order by c.id desc limit 1
  ) c
  -- One before its newest says what the node ran before.
  where n.id = any (array(select s.node_id from unnest(said) s where s.reply_to is not null))
    and l.turn = 1 and l.reply_to is not null
    and c.config_hash is distinct from coalesce(l.config_hash, n.config_hash)
$$;
