-- 182: what the outage (023) of a Hopsworks cluster does: it is on record as a failed check, and when it ends, those who
-- wait for a seat are looked at. Rows that wait for their account have their message woken (104).

-- Keeps the checks `reachable` and `api_key` of health_check_failures: one of them is open while the cluster's outage
-- is, and counts the probes in vain. A trigger of public.outages.
create or replace function hopsworks.record_outage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  of_cluster constant uuid := split_part(new.dependency, ':', 2)::uuid;
  failed constant text := case new.code when 'CLUSTER_KEY_REFUSED' then 'api_key' else 'reachable' end;
begin
  update hopsworks.health_check_failures set resolved_at = public.fleet_now()
  where hopsworks_cluster_id = of_cluster and user_id is null and resolved_at is null
    and check_name in ('reachable', 'api_key') and (new.ended_at is not null or check_name <> failed);
  if new.ended_at is null then
    insert into hopsworks.health_check_failures (hopsworks_cluster_id, check_name, details)
    select c.id, failed, new.reason from hopsworks.hopsworks_clusters c where c.id = of_cluster
    on conflict (hopsworks_cluster_id, check_name, coalesce(user_id, '')) where resolved_at is null do update
      set failures = health_check_failures.failures + 1, last_failed_at = public.fleet_now(),
        details = excluded.details;
  end if;
  return null;
end
$$;

revoke execute on function hopsworks.record_outage() from public;

create or replace trigger record_outage after insert on public.outages
  for each row when (new.dependency like 'hopsworks:%')
  execute function hopsworks.record_outage();
-- A probe in vain writes code and reason, whether they are others or not.
create or replace trigger record_outage_later after update of code, reason, ended_at on public.outages
  for each row when (new.dependency like 'hopsworks:%' and old.ended_at is null)
  execute function hopsworks.record_outage();

-- Sends a look at the line, if somebody stands in it. A trigger of public.outages.
create or replace function hopsworks.admit_after_outage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from hopsworks.user_hopsworks_assignments where status = 'pending') then
    perform pgmq.send('cluster_assignments', '{"action": "admit"}'::jsonb);
  end if;
  return null;
end
$$;

revoke execute on function hopsworks.admit_after_outage() from public;

create or replace trigger admit_to_cluster_after_outage after update of ended_at on public.outages
  for each row when (old.ended_at is null and new.ended_at is not null and new.dependency like 'hopsworks:%')
  execute function hopsworks.admit_after_outage();
