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
-- A new node of the autoscaler; its number.
insert into autoscaler.nodes (name, region) values (:name, :region) returning id;

-- name: rotate
-- Gives a node a key.
select public.add_node_key(:node, :key_hash, :key_prefix);

-- name: revoke
-- Ends all keys of a node; how many were valid.
select public.revoke_node_keys(:node) as result;

-- name: let
-- Lets a login speak for a node; the queue in which it is answered.
with bound as materialized (select public.bind_node_login(:node, :login))
select public.reply_queue(:node) as result from bound;

-- name: remove
-- Deletes a node of the autoscaler, with its keys; a row where it was there.
update autoscaler.nodes set deleted_at = public.fleet_now()
where id = public.node_number(:node) and deleted_at is null returning id;
