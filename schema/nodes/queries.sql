-- How nodes prove who they are (039, 148): what the worker asks about it, and what operators do.

-- name: valid_keys
-- The hashes of the keys that are valid now, of these nodes; and what time it is.
select coalesce(node_id::text, cluster_node_id), key_hash, public.fleet_now() from public.node_keys
where (node_id = any (array(select public.node_number(node) from unnest(:nodes::text[]) node))
    or cluster_node_id = any (:nodes::text[]))
  and coalesce(valid_until > public.fleet_now(), true);

-- name: waiting
-- Of each heartbeat with a proof that waits in the queue and is due: what was proven, the proof, and a key of its node that
-- is valid now. Nothing of it is longer than it should be.
select jsonb_build_object('source', left(message ->> 'source', 20), 'node_id', k.node, 'id', left(message ->> 'id', 100),
    'sent_at', left(message ->> 'sent_at', 100), 'proof', left(message ->> 'proof', 100)),
  k.key_hash, public.fleet_now()
from pgmq.q_node_heartbeats q
join (
  select coalesce(node_id::text, cluster_node_id) as node, key_hash from public.node_keys
  where coalesce(valid_until > public.fleet_now(), true)
) k on k.node = q.message ->> 'node_id'
where case when q.vt <= public.fleet_now() or q.read_ct > 0
  then q.headers -> 'asked_role' is not null and q.message ? 'proof' and q.message ->> 'action' = 'heartbeat' end;

-- name: add_node
-- A new node of the autoscaler and its first key; its row.
select autoscaler.add_node(:given, :key_hash, :key_prefix) as result;

-- name: rotate
-- Gives a node a key.
select public.rotate_node_key(:node, :key_hash, :key_prefix);

-- name: revoke
-- Ends all keys of a node; how many were valid.
select public.end_node_keys(:node) as result;

-- name: let
-- Lets a login speak for a node; the queue in which it is answered.
with bound as materialized (select public.bind_node_login(:node, :login))
select public.reply_queue(:node) as result from bound;

-- name: remove
-- Deletes a node of the autoscaler, with its keys; whether it was there.
select autoscaler.remove_node(public.node_number(:node)) as result;

-- name: change
-- Changes what is said of a node of the autoscaler; its row.
select autoscaler.change_node(:node, :changes) as result;

-- name: principal_of
-- The node whose key this is the hash of, where it is valid now.
select public.principal_of_node_key(:key_hash) as result;

-- name: change_pool
-- Changes what operators say of a pool; its row.
select autoscaler.change_pool(:pool, :changes) as result;

-- name: set_schedule
-- Changes a schedule, or makes one of a node; its row.
select autoscaler.set_schedule(:schedule, :node, :changes) as result;

-- name: remove_schedule
-- Deletes a schedule.
select autoscaler.remove_schedule(:schedule);

-- name: add_configuration
-- Keeps a new configuration of a node and makes it the active one.
select * from autoscaler.add_configuration(:node, :text, :limits);

-- name: activate
-- Makes a configuration of before the active one again; its hash.
select autoscaler.activate_configuration(:node, :configuration) as result;

-- name: configurations
-- What is known of a node's configurations but their text, the newest first.
select * from autoscaler.configurations_of(:node, :before, :most);

-- name: configuration_text
-- The text of a configuration; without an id that of the active one.
select autoscaler.configuration_text(:node, :configuration) as result;

-- name: call_cluster
-- One of document 004's functions, for an operator.
select clusters.call_as_operator(:verb, :given) as result;

-- name: pools
-- Pools of one node or of all, by their numbers from one on.
select id, node_id, oracle_pool_id, name, region, status::text, is_active, switched_off, min_instances, max_instances,
  current_instances, active_instances, target_instances, last_reported_at,
  (select n.name from autoscaler.nodes n where n.id = node_id) as node_name
from autoscaler.pools
where (:node::integer is null or node_id = :node) and id > :after
order by id limit :most;

-- name: pool_number
-- The number of a pool by its cloud's id.
select id from autoscaler.pools where oracle_pool_id = :pool;

-- name: schedules
-- Schedules of one node or of all, by their numbers from one on.
select id, node_id, name, start_time, end_time, target_instances, is_active,
  (select n.name from autoscaler.nodes n where n.id = node_id) as node_name
from autoscaler.schedules
where (:node::integer is null or node_id = :node) and id > :after
order by id limit :most;

-- name: long_but_not_in_line
-- For this transaction: as long as it takes, but no lock is waited for.
select set_config('statement_timeout', '0', true), set_config('lock_timeout', '500ms', true);

-- name: put_telemetry
-- Puts telemetry into another engine's tables; those that were elsewhere.
select table_name from public.put_telemetry(:engine) as table_name;
