-- 039: how nodes prove themselves: by keys, and by logins of their own. Both are of a node of the autoscaler, or of a
-- cluster's node. Written by the functions of 148, which operators call.

-- A row for each key. key_hash is the SHA-256 of the key in hex; the key itself is kept nowhere. Whoever knows the hash can
-- make proofs for the node (schema/nodes/proofs.py), so it is a secret, too. valid_until is null until the key is rotated or
-- revoked. Read by the heartbeat worker.
create table if not exists public.node_keys (
  key_hash text primary key check (
    key_hash ~ '^[0-9a-f]{64}$' is not false or public.refuse_value('key_hash', 'this text', 'a SHA-256 in hex')),
  key_prefix text check (
    key_prefix ~ '^[A-Za-z0-9_-]{8}$' is not false
      or public.refuse_value('key_prefix', 'this text', 'the first 8 characters of a key')),
  node_id integer references autoscaler.nodes (id) on delete cascade,
  cluster_node_id text references clusters.cluster_nodes (node_id) on delete cascade,
  made_at timestamptz not null default public.fleet_now(),
  made_by text not null default session_user,
  valid_until timestamptz,
  check (num_nonnulls(node_id, cluster_node_id) = 1)
);

create index if not exists node_keys_node_idx on public.node_keys (node_id);
create index if not exists node_keys_cluster_node_idx on public.node_keys (cluster_node_id);

-- A row for each login that speaks for a node, and for one only; a node has at most one. Read by the door of the queues
-- (public.node_of).
create table if not exists public.node_logins (
  login text primary key,
  node_id integer unique references autoscaler.nodes (id) on delete cascade,
  cluster_node_id text unique references clusters.cluster_nodes (node_id) on delete cascade,
  since timestamptz not null default public.fleet_now(),
  by_whom text not null default session_user,
  check (num_nonnulls(node_id, cluster_node_id) = 1)
);

-- Keys of before, of which only the hash was kept.
insert into public.node_keys (key_hash, node_id)
select api_key_hash, id from autoscaler.nodes
where api_key_hash ~ '^[0-9a-f]{64}$' and deleted_at is null
on conflict do nothing;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.node_keys', 'valid_until', '30 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
