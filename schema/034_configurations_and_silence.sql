-- 034: one configuration for each node, with the hash that it has; and what the offline sweep knows of itself, so that our
-- own absence is no silence of the nodes.

-- Of several active configurations the newest counted, and stays.
update autoscaler.node_configurations old set is_active = false
where is_active and exists (
  select from autoscaler.node_configurations newer
  where newer.node_id = old.node_id and newer.is_active and newer.id > old.id);

-- config_hash is written by the database (187).
update autoscaler.node_configurations
set config_hash = encode(sha256(convert_to(yaml_config, 'UTF8')), 'hex')
where config_hash is distinct from encode(sha256(convert_to(yaml_config, 'UTF8')), 'hex');

do $$
begin
  if not (select indisunique from pg_index where indexrelid = 'autoscaler.node_configurations_active_idx'::regclass) then
    drop index autoscaler.node_configurations_active_idx;
    create unique index node_configurations_active_idx on autoscaler.node_configurations (node_id) where is_active;
  end if;
end
$$;

-- The ids of a node's last ten heartbeats: one that is sent again with another sent_at is not found by its key (033), and
-- comes soon after.
alter table autoscaler.nodes add column if not exists recent_ids uuid[] not null default '{}';
alter table clusters.cluster_nodes add column if not exists recent_ids uuid[] not null default '{}';

-- What a sweep knows of sweeps (020). watching_since: since when they have come one after the other; after a gap, in which
-- the workers or the database were away, it begins anew, and nobody is silent before it. believed: how many were marked
-- at believed_at although most were silent at once; belief: why, 'by ada' or 'after 15 minutes'.
alter table public.offline_sweeps
  add column if not exists watching_since timestamptz,
  add column if not exists believed integer,
  add column if not exists believed_at timestamptz,
  add column if not exists belief text;
