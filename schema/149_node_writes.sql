-- 149: what operators change about nodes, their pools, schedules and configurations, and what the API needs of nodes: whose
-- key it was shown, and heartbeats in batches. Called by the API, whose login may do no more than call these, and by the
-- console. Keys come as their hash only.
--
-- Changes come as a JSON object of the columns to change: what it does not name stays, and null empties a column that may be
-- empty. Errors: PF004 a value that can't be, PF008 no such node, pool, schedule or configuration, PF013 not in this role.

-- Refuses (PF004) changes that are no object, or that name another column than these. Called by the functions here.
create or replace function autoscaler.check_changes(changes jsonb, known text[]) returns void
language plpgsql immutable
as $$
declare
  strange text;
begin
  if jsonb_typeof(changes) is distinct from 'object' then
    perform public.refuse_value('what changes', coalesce(jsonb_typeof(changes), 'null'), 'an object');
  end if;
  select key into strange from jsonb_object_keys(changes) key where key <> all (known) limit 1;
  if strange is not null then
    perform public.refuse_value('a field', left(strange, 60), 'one of ' || array_to_string(known, ', '));
  end if;
end
$$;

-- Refuses (PF004) a text that is not one line of 1 to so many characters. Called by the functions here.
create or replace function autoscaler.check_line(what text, given text, most integer) returns void
language plpgsql immutable
as $$
begin
  if given is null or given = '' or length(given) > most or given ~ '[[:cntrl:]]' then
    perform public.refuse_value(what, left(quote_nullable(given), 60), format('one line of 1 to %s characters', most));
  end if;
end
$$;

-- Refuses (PF004) what is no address of a host. Called by the functions here.
create or replace function autoscaler.check_address(given text) returns void
language plpgsql immutable
as $$
begin
  -- An IPv6 address has several ways of being written.
  if length(given) > 45 or given ~ '[^0-9a-fA-F:.]' or (family(given::inet) = 4 and given <> host(given::inet)) then
    perform public.refuse_value('ip_address', left(quote_nullable(given), 60), 'an IPv4 or IPv6 address');
  end if;
exception when invalid_text_representation then
  perform public.refuse_value('ip_address', left(quote_nullable(given), 60), 'an IPv4 or IPv6 address');
end
$$;

-- Locks a node that is not deleted, against others who change what is said of it; PF008 where there is none. Called by the
-- functions here.
create or replace function autoscaler.lock_own_node(wanted integer) returns void
language plpgsql
as $$
begin
  perform from autoscaler.nodes where id = wanted and deleted_at is null for no key update;
  if not found then
    raise exception 'there is no node %', coalesce(wanted::text, 'null') using errcode = 'PF008';
  end if;
end
$$;

-- A node's row as operators see it. Called by the functions here.
create or replace function autoscaler.shown_node(wanted integer) returns jsonb
language sql stable
as $$
  select to_jsonb(n) - array['api_key_hash', 'recent_ids', 'skews', 'status_msg_id', 'report_sent_at', 'report_heard_at']
  from autoscaler.nodes n where id = wanted
$$;

-- Makes a node and its first key. Returns its row.
create or replace function autoscaler.add_node(given jsonb, key_hash text, key_prefix text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  new_id integer;
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  perform autoscaler.check_changes(given, array['name', 'region', 'ip_address', 'description']);
  perform autoscaler.check_line('name', given ->> 'name', 255);
  perform autoscaler.check_line('region', given ->> 'region', 100);
  perform autoscaler.check_address(given ->> 'ip_address');
  insert into autoscaler.nodes (name, region, ip_address, description)
  values (given ->> 'name', given ->> 'region', given ->> 'ip_address', given ->> 'description')
  returning id into new_id;
  perform public.add_node_key(new_id::text, key_hash, key_prefix);
  return autoscaler.shown_node(new_id);
end
$$;

-- Changes what is said of a node: name, region, ip_address, description. Returns its row.
create or replace function autoscaler.change_node(wanted integer, changes jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  now_said jsonb;
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  perform autoscaler.check_changes(changes, array['name', 'region', 'ip_address', 'description']);
  perform autoscaler.lock_own_node(wanted);
  now_said := autoscaler.shown_node(wanted) || changes;
  perform autoscaler.check_line('name', now_said ->> 'name', 255);
  perform autoscaler.check_line('region', now_said ->> 'region', 100);
  perform autoscaler.check_address(changes ->> 'ip_address');
  update autoscaler.nodes
  set name = now_said ->> 'name', region = now_said ->> 'region', ip_address = now_said ->> 'ip_address',
    description = now_said ->> 'description'
  where id = wanted;
  return autoscaler.shown_node(wanted);
end
$$;

-- Deletes a node: its keys, its login's rights and its answers go with it, its history stays (148). Returns whether it was
-- there.
create or replace function autoscaler.remove_node(wanted integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  update autoscaler.nodes set deleted_at = public.fleet_now() where id = wanted and deleted_at is null;
  return found;
end
$$;

-- Gives a node, of the autoscaler or of a cluster, a new key; those that it had stay valid for an hour.
create or replace function public.rotate_node_key(node text, new_hash text, new_prefix text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  perform public.add_node_key(node, new_hash, new_prefix);
end
$$;

-- Ends all keys of a node now. Returns how many were valid.
create or replace function public.end_node_keys(node text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  perform public.lock_node(node);
  return public.revoke_node_keys(node);
end
$$;

-- Changes what operators say of a pool: name, min_instances, max_instances, is_active. Returns its row. A configuration that
-- is made active later sets its limits anew.
create or replace function autoscaler.change_pool(wanted bigint, changes jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  pool autoscaler.pools;
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  perform autoscaler.check_changes(changes, array['name', 'min_instances', 'max_instances', 'is_active']);
  select * into pool from autoscaler.pools where id = wanted for no key update;
  if not found then
    raise exception 'there is no pool %', coalesce(wanted::text, 'null') using errcode = 'PF008';
  end if;
  pool := jsonb_populate_record(pool, changes);
  perform autoscaler.check_line('name', pool.name, 255);
  perform autoscaler.check_limits(pool.min_instances, pool.max_instances);
  if pool.is_active is null then
    perform public.refuse_value('is_active', 'null', 'true or false');
  end if;
  update autoscaler.pools p
  set name = pool.name, min_instances = pool.min_instances, max_instances = pool.max_instances,
    is_active = pool.is_active,
    switched_off = case when changes ? 'is_active' then not pool.is_active else p.switched_off end
  where p.id = wanted
  returning * into pool;
  return to_jsonb(pool);
exception when invalid_text_representation or numeric_value_out_of_range then
  perform public.refuse_value('a field', 'of another type', 'a text as name, numbers as limits, true or false');
end
$$;

-- Refuses (PF004) limits that no pool can be within. Called by change_pool and set_limits.
create or replace function autoscaler.check_limits(least_instances integer, most_instances integer) returns void
language plpgsql immutable
as $$
begin
  if (least_instances between 0 and most_instances and most_instances <= 1000000) is not true then
    perform public.refuse_value('min_instances and max_instances',
      format('%s and %s', coalesce(least_instances::text, 'null'), coalesce(most_instances::text, 'null')),
      '0 to 1,000,000, the minimum not above the maximum');
  end if;
end
$$;

-- Changes a schedule, or with wanted null makes one of this node: name, start_time, end_time (HH:MM, UTC),
-- target_instances, is_active. Returns its row.
create or replace function autoscaler.set_schedule(wanted integer, of_node integer, changes jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  schedule autoscaler.schedules;
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  perform autoscaler.check_changes(changes, array['name', 'start_time', 'end_time', 'target_instances', 'is_active']);
  if wanted is not null then
    select * into schedule from autoscaler.schedules where id = wanted for no key update;
    if not found then
      raise exception 'there is no schedule %', wanted using errcode = 'PF008';
    end if;
  else
    perform autoscaler.lock_own_node(of_node);
    schedule.is_active := true;
  end if;
  schedule := jsonb_populate_record(schedule, changes);
  perform autoscaler.check_line('name', schedule.name, 255);
  if (schedule.target_instances between 0 and 1000000) is not true then
    perform public.refuse_value('target_instances', coalesce(schedule.target_instances::text, 'null'), '0 to 1,000,000');
  end if;
  if schedule.start_time is null or schedule.end_time is null or schedule.is_active is null then
    perform public.refuse_value('start_time, end_time and is_active', 'null', 'HH:MM, HH:MM, and true or false');
  end if;
  if wanted is null then
    insert into autoscaler.schedules (node_id, name, start_time, end_time, target_instances, is_active)
    values (of_node, schedule.name, schedule.start_time, schedule.end_time, schedule.target_instances, schedule.is_active)
    returning * into schedule;
  else
    update autoscaler.schedules s
    set name = schedule.name, start_time = schedule.start_time, end_time = schedule.end_time,
      target_instances = schedule.target_instances, is_active = schedule.is_active
    where s.id = wanted
    returning * into schedule;
  end if;
  return to_jsonb(schedule);
exception when invalid_text_representation or numeric_value_out_of_range or string_data_right_truncation then
  perform public.refuse_value('a field', 'of another type',
    'a text as name, HH:MM as times, a number as target, true or false');
end
$$;

-- Deletes a schedule; what it asked for is gone with the next minute (146).
create or replace function autoscaler.remove_schedule(wanted integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  delete from autoscaler.schedules where id = wanted;
  if not found then
    raise exception 'there is no schedule %', coalesce(wanted::text, 'null') using errcode = 'PF008';
  end if;
end
$$;

-- Whose key this is the hash of, where it is valid now: the node's number, or the id of a cluster's node; null for any other.
-- Called by the API for each request of a node.
create or replace function public.principal_of_node_key(of_hash text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select coalesce(n.id::text, c.node_id)
  from public.node_keys k
  left join autoscaler.nodes n on n.id = k.node_id and n.deleted_at is null
  left join clusters.cluster_nodes c on c.node_id = k.cluster_node_id and c.deleted_at is null
  where k.key_hash = of_hash and coalesce(k.valid_until > public.fleet_now(), true)
$$;

-- Sends heartbeats, an array of them, each of a node that the API has proven, at the same place of nodes; at most 500. What
-- is no heartbeat of that node is refused by itself, and the others are sent: stamped as a node's own login would be (105),
-- and within the same bounds. Returns a row for each, in order: its place (from 1), why it was refused, and what the node is
-- answered (002): the hash of its active configuration, and whether it runs another one. The text of that comes with the first
-- node of a batch that needs it, as a fleet often needs the same. Called by the API.
create or replace function public.send_node_heartbeats(bodies jsonb, nodes text[], contract integer)
returns table (place integer, refused text, current_config_hash text, config_update_needed boolean, new_config text)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
  now_is constant timestamptz := public.fleet_now();
  most constant integer := 500;
begin
  if jsonb_typeof(bodies) is distinct from 'array' or jsonb_array_length(bodies) is distinct from cardinality(nodes)
    or cardinality(nodes) > most
  then
    raise exception 'a batch is an array of at most % heartbeats, and as many nodes', most using errcode = 'PF011';
  end if;
  return query
  with given as materialized (
    select b.place::integer as place, b.body, b.node, public.node_number(b.node) as number
    from rows from (jsonb_array_elements(bodies), unnest(nodes)) with ordinality as b (body, node, place)
  ), checked as materialized (
    select g.place, g.body, g.node, c.config_hash as active_hash, c.id as active_id,
      coalesce(g.body ->> 'config_hash', n.config_hash) as own_hash,
      case
        when n.id is null and not exists (
          select from clusters.cluster_nodes k where k.node_id = g.node and k.deleted_at is null)
        then format('there is no node %s', coalesce(g.node, 'null'))
        when jsonb_typeof(g.body) <> 'object' or g.body ->> 'action' is distinct from 'heartbeat'
        then 'action: only a heartbeat is sent here'
        when g.body ->> 'node_id' is distinct from g.node
          or g.body ->> 'source' is distinct from case when g.number is null then 'cluster' else 'autoscaler' end
        then format('node_id: %s may ask for no other', g.node)
        when octet_length(g.body::text) > 262144 then 'a message is at most 256 KiB of JSON'
      end as refused
    from given g
    left join lateral (
      select o.id, o.config_hash from autoscaler.nodes o where o.id = g.number and o.deleted_at is null) n on true
    left join lateral (
      select o.id, o.config_hash from autoscaler.node_configurations o where o.node_id = n.id and o.is_active) c on true
  ), sent as (
    insert into pgmq.q_node_heartbeats (vt, enqueued_at, message, headers)
    select now_is, now_is, k.body,
      jsonb_build_object('asked_by', k.node, 'asked_role', 'NODE', 'pgfleet_contract', contract)
    from checked k where k.refused is null order by k.place
  ), answers as (
    select k.place, k.refused, k.active_hash, k.active_id,
      k.refused is null and k.active_hash is not null and k.active_hash is distinct from k.own_hash as needed
    from checked k
  )
  select a.place, a.refused, a.active_hash::text, a.needed,
    case when a.needed and row_number() over (partition by a.needed, a.active_hash order by a.place) = 1
      then (select o.yaml_config from autoscaler.node_configurations o where o.id = a.active_id) end
  from answers a
  order by a.place;
end
$$;

revoke execute on function autoscaler.add_node(jsonb, text, text), autoscaler.change_node(integer, jsonb),
  autoscaler.remove_node(integer), public.rotate_node_key(text, text, text), public.end_node_keys(text),
  autoscaler.change_pool(bigint, jsonb), autoscaler.set_schedule(integer, integer, jsonb),
  autoscaler.remove_schedule(integer), public.principal_of_node_key(text),
  public.send_node_heartbeats(jsonb, text[], integer)
from public;
