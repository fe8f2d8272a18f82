-- 146: what is done about pools every minute.

-- All active pools of living nodes together, once a minute: the sums and averages of what they last reported, and
-- the peaks of the last 24 hours, this minute included. The same minute again changes nothing. Called by the
-- heartbeat worker.
create or replace function autoscaler.roll_up() returns void
language sql
as $$
  with minute as (select date_trunc('minute', public.fleet_now() at time zone 'UTC') as at),
  pools as (
    select count(*) as total, coalesce(sum(p.current_instances), 0) as current_instances,
      coalesce(sum(p.active_instances), 0) as active_instances,
      coalesce(avg(p.avg_cpu_utilization), 0) as cpu, coalesce(avg(p.avg_memory_utilization), 0) as memory,
      coalesce(max(coalesce(p.max_cpu_utilization, p.avg_cpu_utilization)), 0) as max_cpu,
      coalesce(max(coalesce(p.max_memory_utilization, p.avg_memory_utilization)), 0) as max_memory
    from autoscaler.pools p join autoscaler.nodes n on n.id = p.node_id
    where p.is_active and n.status in ('ACTIVE', 'ERROR') and n.deleted_at is null
  ), peaks as (
    select max(a.total_current_instances) as instances, max(a.total_active_pools) as pools
    from autoscaler.system_analytics a, minute
    where a.timestamp > minute.at - interval '24 hours' and a.timestamp <= minute.at
  )
  insert into autoscaler.system_analytics (timestamp, total_active_pools, total_current_instances,
    total_active_instances, avg_system_cpu, avg_system_memory, max_system_cpu, max_system_memory, peak_instances_24h,
    max_active_pools_24h, active_nodes)
  select minute.at, p.total, p.current_instances, p.active_instances, p.cpu, p.memory, p.max_cpu, p.max_memory,
    greatest(peaks.instances, p.current_instances), greatest(peaks.pools, p.total),
    (select count(*) from autoscaler.nodes where status = 'ACTIVE' and deleted_at is null)
  from minute, pools p, peaks
  on conflict (timestamp) do nothing
$$;

-- Writes into pools how many instances their node's schedules ask for now, within the pool's limits; null without
-- one. Returns how many pools changed. Called by the heartbeat worker.
create or replace function autoscaler.apply_schedules() returns integer
language plpgsql
as $$
declare
  clock constant text := to_char(public.fleet_now() at time zone 'UTC', 'HH24:MI');
  changed integer;
begin
  with wanted as (
    select p.id, (
      select greatest(p.min_instances, least(p.max_instances, max(s.target_instances)))
      from autoscaler.schedules s
      where s.node_id = p.node_id and s.is_active
        and case when s.start_time = s.end_time then true
          when s.start_time < s.end_time then clock >= s.start_time and clock < s.end_time
          else clock >= s.start_time or clock < s.end_time end
      having count(*) > 0
    ) as target
    from autoscaler.pools p
    where p.target_instances is not null
      or exists (select from autoscaler.schedules s where s.node_id = p.node_id and s.is_active)
    order by p.id
    for no key update of p skip locked
  )
  update autoscaler.pools p set target_instances = w.target
  from wanted w where p.id = w.id and p.target_instances is distinct from w.target;
  get diagnostics changed = row_count;
  return changed;
end
$$;
