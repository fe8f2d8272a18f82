-- 140: the machine of autoscaler nodes, and its log, written by a trigger, so that no change is missing from it,
-- whoever made it.

select public.guard_machine_by_row('autoscaler.nodes', 'node', 'id');

-- Writes node_lifecycle_logs: WENT_OFFLINE, CAME_ONLINE, FIRST_SEEN, ENTERED_ERROR, RECOVERED; DELETED and RESTORED.
-- A trigger of autoscaler.nodes.
create or replace function autoscaler.log_lifecycle() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  actor constant text := coalesce(public.said('pgfleet.actor'), '');
  by_worker constant boolean := actor <> '' and actor not like 'console:%';
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
    jsonb_build_object('actor', public.signed_by(), 'last_heartbeat', new.last_heartbeat)::text,
    public.fleet_now() at time zone 'UTC');
  return null;
end
$$;

revoke execute on function autoscaler.log_lifecycle() from public;

create or replace trigger log_lifecycle after update of status, deleted_at on autoscaler.nodes
  for each row when (old.status is distinct from new.status or (old.deleted_at is null) <> (new.deleted_at is null))
  execute function autoscaler.log_lifecycle();
