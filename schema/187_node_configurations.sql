-- 187: the configurations of autoscaler nodes.

-- Writes the hash of a configuration, the SHA-256 of its text; one that the caller gives is replaced, with a warning
-- where it is another. A trigger of autoscaler.node_configurations.
create or replace function autoscaler.hash_configuration() returns trigger
language plpgsql
as $$
declare
  hash constant text := encode(sha256(convert_to(new.yaml_config, 'UTF8')), 'hex');
begin
  if new.config_hash <> hash then
    raise warning 'config_hash % is not the SHA-256 of yaml_config: % is written instead', new.config_hash, hash;
  end if;
  new.config_hash := hash;
  return new;
end
$$;

create or replace trigger hash_configuration before insert or update of yaml_config, config_hash
  on autoscaler.node_configurations
  for each row execute function autoscaler.hash_configuration();

-- Sets the limits of a node's pools as a configuration has them (056). Of a limit that it does not say the one before stays,
-- unless it would contradict the other. Called by use_configuration.
create or replace function autoscaler.set_limits(of_node integer, limits jsonb) returns void
language plpgsql
as $$
declare
  named constant text[] := array(select jsonb_object_keys(limits));
begin
  -- In the order in which heartbeats lock them.
  perform from autoscaler.pools where oracle_pool_id = any (named) and node_id = of_node
  order by oracle_pool_id for no key update;
  update autoscaler.pools p
  set min_instances = l.least_instances, max_instances = l.most_instances
  from autoscaler.pools q
  cross join lateral autoscaler.limits_of(limits -> q.oracle_pool_id, q.min_instances, q.max_instances) l
  where p.oracle_pool_id = any (named) and p.node_id = of_node and q.id = p.id
    and (p.min_instances, p.max_instances) is distinct from (l.least_instances, l.most_instances);
end
$$;

-- The limits of a pool, as a configuration says them over those of before. Called by set_limits and limit_pool.
create or replace function autoscaler.limits_of(said jsonb, known_least integer, known_most integer,
  out least_instances integer, out most_instances integer) returns record
language sql immutable
as $$
  select coalesce((said ->> 'min')::integer, least(known_least, (said ->> 'max')::integer)),
    coalesce((said ->> 'max')::integer, greatest(known_most, (said ->> 'min')::integer))
$$;

-- A pool that is reported for the first time, or passes to another node, has the limits of its node's configuration. A
-- trigger of autoscaler.pools.
create or replace function autoscaler.limit_pool() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  said jsonb;
  limits record;
begin
  select c.scaling_limits -> new.oracle_pool_id into said
  from autoscaler.node_configurations c where c.node_id = new.node_id and c.is_active;
  if said is not null then
    limits := autoscaler.limits_of(said, new.min_instances, new.max_instances);
    new.min_instances := limits.least_instances;
    new.max_instances := limits.most_instances;
  end if;
  return new;
end
$$;

revoke execute on function autoscaler.limit_pool() from public;

create or replace trigger limit_new_pool before insert on autoscaler.pools
  for each row execute function autoscaler.limit_pool();
create or replace trigger limit_pool before update of node_id on autoscaler.pools
  for each row when (old.node_id is distinct from new.node_id) execute function autoscaler.limit_pool();

-- Makes a configuration the active one of its node, and sets its limits. The node is locked by the caller: add_configuration
-- and activate_configuration.
create or replace function autoscaler.use_configuration(of_node integer, wanted bigint) returns void
language plpgsql
as $$
declare
  limits jsonb;
begin
  update autoscaler.node_configurations set is_active = false where node_id = of_node and is_active and id <> wanted;
  update autoscaler.node_configurations
  set is_active = true, activated_at = public.fleet_now(), activated_by = public.request_user()
  where node_id = of_node and id = wanted
  returning scaling_limits into limits;
  if not found then
    raise exception 'node % has no configuration %', of_node, coalesce(wanted::text, 'null') using errcode = 'PF008';
  end if;
  perform autoscaler.set_limits(of_node, limits);
end
$$;

-- Refuses (PF013) whom the API speaks for, unless it is an operator, or this node itself: a user may be called 17, too. Called
-- by the functions that read.
create or replace function autoscaler.must_ask_as_node_or_operator(of_node integer) returns void
language sql stable
as $$
  select public.must_ask_as(
    array['DEVOPS', 'ADMIN'] || case when public.request_user() = of_node::text then array['NODE'] end)
$$;

-- What is known of a node's configurations but their text, the newest first: at most so many, with ids below `before`.
-- Called by the API and the console.
create or replace function autoscaler.configurations_of(of_node integer, before bigint default null, most integer default 50)
returns table (id bigint, config_hash text, is_active boolean, is_running boolean, bytes integer, scaling_limits jsonb,
  created_at timestamptz, activated_at timestamptz, activated_by text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform autoscaler.must_ask_as_node_or_operator(of_node);
  return query
    select c.id, c.config_hash::text, coalesce(c.is_active, false), c.config_hash is not distinct from n.config_hash,
      octet_length(c.yaml_config), c.scaling_limits, c.created_at at time zone 'UTC', c.activated_at, c.activated_by
    from autoscaler.node_configurations c join autoscaler.nodes n on n.id = c.node_id
    where c.node_id = of_node and (before is null or c.id < before)
    order by c.id desc limit least(greatest(most, 0), 1000);
end
$$;

-- The text of a configuration of a node, and with wanted null that of the active one; null where there is none. Called by the
-- API and the console.
create or replace function autoscaler.configuration_text(of_node integer, wanted bigint default null) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform autoscaler.must_ask_as_node_or_operator(of_node);
  return (
    select c.yaml_config from autoscaler.node_configurations c
    where c.node_id = of_node and case when wanted is null then c.is_active else c.id = wanted end);
end
$$;

-- Keeps a new configuration of a node, whose text the caller has checked and read the limits of (schema/nodes), and makes it
-- the active one. The text of the active one again changes nothing. Returns its id, its hash, and whether anything changed.
-- Called by the API and the console.
create or replace function autoscaler.add_configuration(of_node integer, new_text text, limits jsonb default '{}')
returns table (id bigint, config_hash text, changed boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  new_id bigint;
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  if octet_length(new_text) > 262144 then
    perform public.refuse_value('a configuration', octet_length(new_text) || ' bytes', 'at most 256 KiB');
  end if;
  perform autoscaler.lock_own_node(of_node);
  return query
    select c.id, c.config_hash::text, false from autoscaler.node_configurations c
    where c.node_id = of_node and c.is_active and c.yaml_config = new_text;
  if found then
    return;
  end if;
  insert into autoscaler.node_configurations (node_id, yaml_config, config_hash, is_active, scaling_limits, created_at)
  values (of_node, new_text, encode(sha256(convert_to(new_text, 'UTF8')), 'hex'), false, limits,
    public.fleet_now() at time zone 'UTC')
  returning id into new_id;
  perform autoscaler.use_configuration(of_node, new_id);
  return query
    select c.id, c.config_hash::text, true from autoscaler.node_configurations c where c.id = new_id;
end
$$;

-- Makes a configuration that a node had before the active one again. Returns its hash. Called by the API and the console.
create or replace function autoscaler.activate_configuration(of_node integer, wanted bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  perform autoscaler.lock_own_node(of_node);
  perform autoscaler.use_configuration(of_node, wanted);
  return (select c.config_hash from autoscaler.node_configurations c where c.id = wanted);
end
$$;

revoke execute on function autoscaler.configurations_of(integer, bigint, integer),
  autoscaler.configuration_text(integer, bigint), autoscaler.add_configuration(integer, text, jsonb),
  autoscaler.activate_configuration(integer, bigint)
from public;
