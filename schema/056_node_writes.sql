-- 056: what operators say of nodes beside their row: which configuration was made active by whom, what it says of the node's
-- pools, and which pools they have switched off. Written by the functions of 149.

-- scaling_limits: what the text says of the size of pools, as whoever checked it has read it: {oracle_pool_id: {min, max}}.
alter table autoscaler.node_configurations
  add column if not exists scaling_limits jsonb not null default '{}',
  add column if not exists activated_at timestamptz,
  add column if not exists activated_by text;

-- Switched off by an operator: no heartbeat makes it active again (188).
alter table autoscaler.pools
  add column if not exists switched_off boolean not null default false;

create index if not exists node_configurations_node_idx on autoscaler.node_configurations (node_id, id);
