-- 152: what people and services call to change clusters (document 004), with the arguments it prints. Every call
-- leaves a row in cluster_events; one that changes nothing but measurements leaves it with severity debug, which
-- get_cluster_events shows only when asked for and which is kept for a day.
--
-- Errors: PF004 a value that can't be, PF006 still in use, PF007 full, PF008 no such cluster, node or template,
-- PF009 an old epoch, PF010 not fit to lead.

-- Eight letters and digits, for ids. Called by create_cluster and add_cluster_node.
create or replace function clusters.random_word() returns text
language sql volatile
as $$
  select string_agg(substr('abcdefghijklmnopqrstuvwxyz0123456789', 1 + floor(random() * 36)::integer, 1), '')
  from generate_series(1, 8)
$$;

-- The cluster, locked; PF008 where there is none, PF009 where the caller knows another epoch than it is at. Called
-- by every function that changes a cluster.
create or replace function clusters.lock_cluster(wanted text, known_epoch bigint default null)
returns clusters.clusters
language plpgsql
as $$
declare
  cluster clusters.clusters;
begin
  select * into cluster from clusters.clusters where cluster_id = wanted for no key update;
  if not found then
    raise exception 'there is no cluster %', coalesce(wanted, 'null') using errcode = 'PF008';
  end if;
  if known_epoch <> cluster.epoch then
    raise exception 'cluster % is at epoch %; the caller knows only epoch %', wanted, cluster.epoch, known_epoch
      using errcode = 'PF009',
        hint = 'It was led by somebody else in between: stop writing, and read the cluster again.';
  end if;
  return cluster;
end
$$;

-- Makes a cluster; limits that are not given are the template's. Returns its id. Called by operators and services
-- (document 004).
create or replace function clusters.create_cluster(
  p_name text,
  p_description text default null,
  p_region text default null,
  p_config jsonb default '{}',
  p_max_nodes integer default null,
  p_max_tenants integer default null,
  p_max_storage_gb integer default null,
  p_template text default 'development') returns text
language plpgsql
as $$
declare
  template clusters.cluster_config_templates;
  new_id text;
begin
  select * into template from clusters.cluster_config_templates where name = p_template;
  if not found then
    raise exception 'there is no template %', coalesce(p_template, 'null')
      using errcode = 'PF008', hint = 'select name from clusters.cluster_config_templates';
  end if;
  if p_config ? 'healthCheckInterval' and not coalesce(
    jsonb_typeof(p_config -> 'healthCheckInterval') = 'number'
    and (p_config ->> 'healthCheckInterval')::numeric between 1 and 86400, false)
  then
    perform public.refuse_value('healthCheckInterval', p_config ->> 'healthCheckInterval', '1 to 86400 seconds');
  end if;
  loop
    new_id := format('cluster-%s-%s-%s', clusters.random_word(),
      to_char(public.fleet_now() at time zone 'UTC', 'YYYY-MM-DD-HH24-MI-SS'), clusters.random_word());
    exit when not exists (select from clusters.clusters where cluster_id = new_id);
  end loop;
  insert into clusters.clusters (
    cluster_id, name, description, region, config, max_nodes, max_tenants, max_storage_gb, status_reason)
  values (new_id, p_name, p_description, p_region, template.config || coalesce(p_config, '{}'),
    coalesce(p_max_nodes, template.max_nodes), coalesce(p_max_tenants, template.max_tenants),
    coalesce(p_max_storage_gb, template.max_storage_gb), 'create_cluster');
  insert into clusters.cluster_events (cluster_id, event_type, message, details)
  values (new_id, 'CLUSTER_CREATED', format('%s was created', p_name), jsonb_build_object('template', p_template));
  return new_id;
end
$$;

-- Makes an online node that is not critical the primary of its cluster, under the next epoch; PF010 for any other.
-- Already primary: nothing changes. Returns {cluster_id, primary_node_id, previous_primary_node_id, epoch}. Called
-- by operators and services (document 004).
create or replace function clusters.promote_to_primary(p_node_id text, p_epoch bigint default null) returns jsonb
language plpgsql
as $$
declare
  of_cluster constant text := clusters.cluster_of(p_node_id);
  cluster constant clusters.clusters := clusters.lock_cluster(of_cluster, p_epoch);
  epoch_now bigint;
  node clusters.cluster_nodes;
begin
  select * into node from clusters.cluster_nodes where node_id = p_node_id;
  if node.status <> 'online' or node.health_status = 'critical' or node.deleted_at is not null then
    raise exception 'node % is % and %: it can''t be primary', p_node_id, node.status, node.health_status
      using errcode = 'PF010', hint = 'Only a node that is online and not critical can lead.';
  end if;
  perform clusters.assess(of_cluster, p_node_id);
  select epoch into epoch_now from clusters.clusters where cluster_id = of_cluster;
  insert into clusters.cluster_events (cluster_id, node_id, event_type, message, details, epoch)
  values (of_cluster, p_node_id, 'PROMOTED', format('%s is primary', node.name),
    jsonb_build_object('previous', cluster.primary_node_id), epoch_now);
  return jsonb_build_object('cluster_id', of_cluster, 'primary_node_id', p_node_id,
    'previous_primary_node_id', cluster.primary_node_id, 'epoch', epoch_now);
end
$$;

-- Takes a cluster out of use for good. While nodes or tenants remain it is refused (PF006) unless forced; then its
-- nodes go with it. Returns {cluster_id, status, nodes}: how many nodes went. Called by operators and services
-- (document 004).
create or replace function clusters.decommission_cluster(
  p_cluster_id text, p_force boolean default false, p_epoch bigint default null) returns jsonb
language plpgsql
as $$
declare
  cluster constant clusters.clusters := clusters.lock_cluster(p_cluster_id, p_epoch);
  nodes integer;
begin
  select total into nodes from clusters.cluster_health where cluster_id = p_cluster_id;
  if (nodes > 0 or cluster.current_tenants > 0) and not coalesce(p_force, false) then
    raise exception 'cluster % still has % nodes and % tenants', p_cluster_id, nodes, cluster.current_tenants
      using errcode = 'PF006', hint = 'Move them away first, or decommission_cluster(id, true).';
  end if;
  update clusters.cluster_nodes
  set status = 'decommissioning', status_reason = 'decommission_cluster', deleted_at = public.fleet_now()
  where cluster_id = p_cluster_id and deleted_at is null;
  update clusters.clusters
  set status = 'decommissioning', status_reason = 'decommission_cluster', primary_node_id = null,
    coordinator_node_id = null
  where cluster_id = p_cluster_id;
  insert into clusters.cluster_events (cluster_id, event_type, severity, message, details)
  values (p_cluster_id, 'CLUSTER_DECOMMISSIONED', 'warning', format('%s was decommissioned', cluster.name),
    jsonb_build_object('forced', coalesce(p_force, false), 'nodes', nodes, 'tenants', cluster.current_tenants));
  return jsonb_build_object('cluster_id', p_cluster_id, 'status', 'decommissioning', 'nodes', nodes);
end
$$;
