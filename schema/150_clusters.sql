-- 150: the machines of clusters and their nodes, their events, and their leaders.

select public.guard_machine_by_row('clusters.clusters', 'cluster', 'cluster_id');
select public.guard_machine_by_row('clusters.cluster_nodes', 'cluster_node', 'node_id');

-- initializing, maintenance and decommissioning, set by a person, stay until a person sets another: health leaves
-- them alone. Any other status gives the cluster back to its health. What assess changes is nobody's doing, whoever
-- calls it. A trigger of clusters.clusters.
create or replace function clusters.note_operator() returns trigger
language plpgsql
as $$
begin
  if public.said('pgfleet.actor') is null and not (
    current_setting('pgfleet.by_health', true) is not distinct from 'on'
    -- Anyone can set a setting: whoever is not believed may say so of what health makes of it alone.
    and (public.said('pgfleet.by_health') is not null or new.status = clusters.status_of(new.health_score)))
  then
    new.operator_status := new.status in ('initializing', 'maintenance', 'decommissioning');
  end if;
  if new.status = 'decommissioning' then
    new.decommissioned_at := coalesce(new.decommissioned_at, public.fleet_now());
  end if;
  return new;
end
$$;

create or replace trigger note_operator before update of status on clusters.clusters
  for each row execute function clusters.note_operator();

-- Events are signed as moves are.
do $$
begin
  if not exists (
    select from pg_attrdef where adrelid = 'clusters.cluster_events'::regclass
      and pg_get_expr(adbin, adrelid) like '%signed_by()')
  then
    alter table clusters.cluster_events alter column triggered_by set default public.signed_by();
  end if;
end
$$;

-- Writes cluster_events for every change of status, of a cluster or of a node, and for a new leader. A trigger of
-- clusters.clusters and clusters.cluster_nodes.
create or replace function clusters.log_event() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_table_name = 'cluster_nodes' then
    insert into clusters.cluster_events (cluster_id, node_id, event_type, severity, message, details)
    values (new.cluster_id, new.node_id, 'NODE_STATUS_CHANGED',
      case new.status when 'offline' then 'error' when 'error' then 'error' when 'maintenance' then 'warning'
        else 'info' end,
      format('%s went from %s to %s', new.name, old.status, new.status),
      jsonb_build_object('from', old.status, 'to', new.status, 'reason', public.move_reason(new.status_reason)));
    return null;
  end if;
  if old.status is distinct from new.status then
    insert into clusters.cluster_events (cluster_id, event_type, severity, message, details, epoch)
    values (new.cluster_id, 'CLUSTER_STATUS_CHANGED',
      case new.status when 'offline' then 'critical' when 'degraded' then 'warning' when 'maintenance' then 'warning'
        else 'info' end,
      format('%s went from %s to %s', new.name, old.status, new.status),
      jsonb_build_object('from', old.status, 'to', new.status, 'health_score', new.health_score,
        'reason', public.move_reason(new.status_reason)),
      new.epoch);
  end if;
  if old.primary_node_id is distinct from new.primary_node_id then
    insert into clusters.cluster_events (cluster_id, node_id, event_type, severity, message, details, epoch)
    values (new.cluster_id, new.primary_node_id, 'PRIMARY_CHANGED', 'warning',
      format('%s is led by %s', new.name, coalesce(new.primary_node_id, 'nobody')),
      jsonb_build_object('previous', old.primary_node_id, 'epoch', new.epoch), new.epoch);
  end if;
  if old.coordinator_node_id is distinct from new.coordinator_node_id then
    insert into clusters.cluster_events (cluster_id, node_id, event_type, severity, message, details, epoch)
    values (new.cluster_id, new.coordinator_node_id, 'COORDINATOR_CHANGED', 'info',
      format('%s is coordinated by %s', new.name, coalesce(new.coordinator_node_id, 'nobody')),
      jsonb_build_object('previous', old.coordinator_node_id, 'epoch', new.epoch), new.epoch);
  end if;
  return null;
end
$$;

revoke execute on function clusters.log_event() from public;

create or replace trigger log_event after update of status, primary_node_id, coordinator_node_id on clusters.clusters
  for each row when (old.status is distinct from new.status
    or old.primary_node_id is distinct from new.primary_node_id
    or old.coordinator_node_id is distinct from new.coordinator_node_id)
  execute function clusters.log_event();
create or replace trigger log_event after update of status on clusters.cluster_nodes
  for each row when (old.status is distinct from new.status) execute function clusters.log_event();

-- Counts changes of leaders in epoch, without a gap, whoever makes them; and refuses a new leader that may not lead.
-- A trigger of clusters.clusters.
create or replace function clusters.guard_leaders() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if new.epoch < old.epoch or new.epoch > old.epoch + 1 then
    raise exception 'cluster % is at epoch %, not %', new.cluster_id, old.epoch, new.epoch
      using errcode = 'PF009', hint = 'Somebody else changed its leaders: look again.';
  end if;
  if new.epoch = old.epoch and (new.primary_node_id is distinct from old.primary_node_id
    or new.coordinator_node_id is distinct from old.coordinator_node_id) then
    new.epoch := old.epoch + 1;
  end if;
  if exists (
    select from clusters.cluster_nodes n
    where (n.node_id = new.primary_node_id and new.primary_node_id is distinct from old.primary_node_id
        or n.node_id = new.coordinator_node_id and new.coordinator_node_id is distinct from old.coordinator_node_id)
      and (n.status <> 'online' or n.health_status = 'critical' or n.deleted_at is not null))
  then
    raise exception 'cluster % can''t be led by %', new.cluster_id,
      concat_ws(' and ', new.primary_node_id, new.coordinator_node_id)
      using errcode = 'PF010', hint = 'Only a node that is online and not critical can lead.';
  end if;
  return new;
end
$$;

revoke execute on function clusters.guard_leaders() from public;

create or replace trigger guard_leaders before update of primary_node_id, coordinator_node_id, epoch
  on clusters.clusters
  for each row execute function clusters.guard_leaders();
