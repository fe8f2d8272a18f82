-- 019: the machines that heartbeats drive: autoscaler nodes, clusters and their nodes; the triggers are in 140 and 150.
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
