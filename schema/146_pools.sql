-- 146: what is done about pools every minute.

-- All active pools of living nodes together, once for each minute: the sums and averages of what they last reported,
-- and the peaks of the 24 hours up to then. Minutes that were missed, because the work came late or no worker was there,
-- are written as the one before them was: nobody had heard anything else by then. Of an absence of more than a day they
-- are not made up. The same minute again changes nothing, and takes no number. Called by the heartbeat worker.
create or replace function autoscaler.roll_up() returns void
language sql
set enable_nestloop = off
as $$
  with this_minute as (select date_trunc('minute', public.fleet_now() at time zone 'UTC') as at),
  pools as (
    select count(*) as total, coalesce(sum(p.current_instances), 0) as current_instances,
      coalesce(sum(p.active_instances), 0) as active_instances,
      coalesce(avg(p.avg_cpu_utilization), 0) as cpu, coalesce(avg(p.avg_memory_utilization), 0) as memory,
      coalesce(max(coalesce(p.max_cpu_utilization, p.avg_cpu_utilization)), 0) as max_cpu,
      coalesce(max(coalesce(p.max_memory_utilization, p.avg_memory_utilization)), 0) as max_memory
    from autoscaler.pools p join autoscaler.nodes n on n.id = p.node_id
    where p.is_active and n.status in ('ACTIVE', 'ERROR') and n.deleted_at is null
  ), last_written as (
    select a.* from autoscaler.system_analytics a, this_minute m
    where a.timestamp > m.at - interval '24 hours' order by a.timestamp desc limit 1
  ), figures as (
    select m.at, p.total, p.current_instances, p.active_instances, p.cpu, p.memory, p.max_cpu, p.max_memory,
      (select count(*) from autoscaler.nodes where status = 'ACTIVE' and deleted_at is null) as active_nodes
    from this_minute m, pools p
    union all
    select missed.at, w.total_active_pools, w.total_current_instances, w.total_active_instances, w.avg_system_cpu,
      w.avg_system_memory, w.max_system_cpu, w.max_system_memory, w.active_nodes
    from this_minute m, last_written w
    cross join lateral generate_series(w.timestamp + interval '1 minute', m.at - interval '1 minute', '1 minute')
      as missed (at)
  )
  insert into autoscaler.system_analytics (timestamp, total_active_pools, total_current_instances,
    total_active_instances, avg_system_cpu, avg_system_memory, max_system_cpu, max_system_memory, peak_instances_24h,
    max_active_pools_24h, active_nodes)
  select f.at, f.total, f.current_instances, f.active_instances, f.cpu, f.memory, f.max_cpu, f.max_memory,
    greatest(peaks.instances, f.current_instances), greatest(peaks.pools, f.total), f.active_nodes
  from figures f
  cross join lateral (
    select max(a.total_current_instances) as instances, max(a.total_active_pools) as pools
    from autoscaler.system_analytics a
    where a.timestamp > f.at - interval '24 hours' and a.timestamp <= f.at
  ) peaks
  where not exists (select from autoscaler.system_analytics a where a.timestamp = f.at)
  order by f.at
  on conflict (timestamp) do nothing
$$;

-- Writes into pools how many instances their node's schedules ask for now, within the pool's limits; null without
-- one. Returns how many pools changed. Called by the heartbeat worker.
create or replace function autoscaler.apply_schedules() returns integer
language plpgsql
set enable_nestloop = off
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
