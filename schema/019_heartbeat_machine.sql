-- 019: the machines that heartbeats drive: autoscaler nodes, clusters and their nodes; and the log of each that the
-- documents ask for, written by triggers, so that no change is missing from it, whatever hand made it.
--
--   node:          INACTIVE --> ACTIVE <--> ERROR      ACTIVE, ERROR <--> OFFLINE
--   cluster:       initializing --> active, degraded, maintenance, offline: any to any;  all --> decommissioning
--   cluster node:  provisioning --> online, offline, maintenance, error: any to any;     all --> decommissioning

insert into public.moves (machine, from_status, to_status, happens_when) values
  ('node', '(new)', 'INACTIVE', 'it is registered'),
  ('node', 'INACTIVE', 'ACTIVE', 'its first heartbeat'),
  ('node', 'ACTIVE', 'ERROR', 'it reports an error'),
  ('node', 'ERROR', 'ACTIVE', 'it reports none any more'),
  ('node', 'ACTIVE', 'OFFLINE', 'it was silent for too long'),
  ('node', 'ERROR', 'OFFLINE', 'it was silent for too long'),
  ('node', 'OFFLINE', 'ACTIVE', 'it reports again'),
  ('node', 'OFFLINE', 'ERROR', 'it reports again, with an error')
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;

insert into public.moves (machine, from_status, to_status, happens_when)
select 'cluster', '(new)', 'initializing', 'create_cluster'
union all
select 'cluster', f, t, 'its health, or an operator'
from unnest(array['initializing', 'active', 'degraded', 'maintenance', 'offline']) f,
  unnest(array['active', 'degraded', 'maintenance', 'offline']) t
where f <> t
union all
select 'cluster', f, 'decommissioning', 'decommission_cluster'
from unnest(array['initializing', 'active', 'degraded', 'maintenance', 'offline']) f
union all
select 'cluster_node', '(new)', 'provisioning', 'add_cluster_node'
union all
select 'cluster_node', f, t, case t
    when 'online' then 'it reports'
    when 'offline' then 'it was silent for too long, or somebody says so'
    when 'error' then 'it reports an error'
    else 'an operator' end
from unnest(array['provisioning', 'online', 'offline', 'maintenance', 'error']) f,
  unnest(array['online', 'offline', 'maintenance', 'error']) t
where f <> t
union all
select 'cluster_node', f, 'decommissioning', 'an operator, or with its cluster'
from unnest(array['provisioning', 'online', 'offline', 'maintenance', 'error']) f
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;

select public.guard_machine_by_row('autoscaler.nodes', 'node', 'id');
select public.guard_machine_by_row('clusters.clusters', 'cluster', 'cluster_id');
select public.guard_machine_by_row('clusters.cluster_nodes', 'cluster_node', 'node_id');

-- Writes node_lifecycle_logs: WENT_OFFLINE, CAME_ONLINE, FIRST_SEEN, ENTERED_ERROR, RECOVERED; DELETED and RESTORED.
create or replace function autoscaler.log_lifecycle() returns trigger
language plpgsql
as $$
declare
  by_worker constant boolean := nullif(current_setting('pgfleet.actor', true), '') is not null;
begin
  insert into autoscaler.node_lifecycle_logs
    (node_id, event_type, previous_status, new_status, reason, triggered_by, extra_data, timestamp)
  values (
    new.id,
    case
      when new.deleted_at is not null and old.deleted_at is null then 'DELETED'
      when new.deleted_at is null and old.deleted_at is not null then 'RESTORED'
      when new.status = 'OFFLINE' then 'WENT_OFFLINE'
      when old.status = 'OFFLINE' then 'CAME_ONLINE'
      when old.status = 'INACTIVE' then 'FIRST_SEEN'
      when new.status = 'ERROR' then 'ENTERED_ERROR'
      else 'RECOVERED'
    end,
    old.status, new.status, public.move_reason(new.status_reason),
    case when not by_worker then 'manual' when new.status = 'OFFLINE' then 'system' else 'heartbeat' end,
    jsonb_build_object('actor', public.move_actor(), 'last_heartbeat', new.last_heartbeat)::text,
    public.fleet_now() at time zone 'UTC');
  return null;
end
$$;

drop trigger if exists log_lifecycle on autoscaler.nodes;
create trigger log_lifecycle after update of status, deleted_at on autoscaler.nodes
  for each row when (old.status is distinct from new.status or (old.deleted_at is null) <> (new.deleted_at is null))
  execute function autoscaler.log_lifecycle();

-- initializing, maintenance and decommissioning, set by a person, stay until a person sets another: health leaves them
-- alone. Any other word gives the cluster back to its health. (assess, in 020, is nobody's hand, whoever calls it.)
create or replace function clusters.note_operator() returns trigger
language plpgsql
as $$
begin
  if nullif(current_setting('pgfleet.actor', true), '') is null
    and current_setting('pgfleet.by_health', true) is distinct from 'on'
  then
    new.operator_status := new.status in ('initializing', 'maintenance', 'decommissioning');
  end if;
  if new.status = 'decommissioning' then
    new.decommissioned_at := coalesce(new.decommissioned_at, public.fleet_now());
  end if;
  return new;
end
$$;

drop trigger if exists note_operator on clusters.clusters;
create trigger note_operator before update of status on clusters.clusters
  for each row execute function clusters.note_operator();

-- Writes cluster_events for every change of status, of a cluster or of a node, and for a new leader.
create or replace function clusters.log_event() returns trigger
language plpgsql
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

drop trigger if exists log_event on clusters.clusters;
create trigger log_event after update of status, primary_node_id, coordinator_node_id on clusters.clusters
  for each row when (old.status is distinct from new.status
    or old.primary_node_id is distinct from new.primary_node_id
    or old.coordinator_node_id is distinct from new.coordinator_node_id)
  execute function clusters.log_event();
drop trigger if exists log_event on clusters.cluster_nodes;
create trigger log_event after update of status on clusters.cluster_nodes
  for each row when (old.status is distinct from new.status) execute function clusters.log_event();

-- epoch counts changes of leaders, without a gap, whoever makes them; and a new leader is one that may lead.
create or replace function clusters.guard_leaders() returns trigger
language plpgsql
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

drop trigger if exists guard_leaders on clusters.clusters;
create trigger guard_leaders before update of primary_node_id, coordinator_node_id, epoch on clusters.clusters
  for each row execute function clusters.guard_leaders();
