-- 148: what operators call to let nodes prove themselves, and the queue in which a node is answered. A node is named by its
-- number (autoscaler) or by its id (cluster): one is never the other.
--
-- Keys come as their hash only (pgfleet nodes add, rotate-key): no statement, log or history ever has one.

-- The queue for answers to a node: node_replies_17, and for a node of a cluster, whose id is too long, a hash of it. No two
-- nodes have the same: a number never begins with a c. Called by the functions here and in 142, and by the console.
create or replace function public.reply_queue(node text) returns text
language sql immutable strict
as $$
  select 'node_replies_' || case when node ~ '^[1-9][0-9]{0,9}$' then node else 'c' || left(encode(sha256(convert_to(node, 'UTF8')), 'hex'), 26) end
$$;

-- The number that a node's name is; null where it is a cluster node's id. Called by the functions here.
create or replace function public.node_number(node text) returns integer
language sql immutable strict
as $$ select case when node ~ '^[1-9][0-9]{0,9}$' and node::bigint <= 2147483647 then node::integer end $$;

-- A node by its name, locked against others who change its keys: its number or its cluster node's id, the other null. PF008
-- where there is none, or where it was deleted. Called by the functions here.
create or replace function public.lock_node(node text, out number integer, out cluster_node text) returns record
language plpgsql
as $$
begin
  select id into number from autoscaler.nodes
  where id = public.node_number(node) and deleted_at is null for no key update;
  select node_id into cluster_node from clusters.cluster_nodes
  where node_id = node and deleted_at is null for no key update;
  if num_nonnulls(number, cluster_node) = 0 then
    raise exception 'there is no node %', coalesce(node, 'null') using errcode = 'PF008';
  end if;
end
$$;

-- Gives a node a key, by the key's hash and its first 8 characters. The keys that it had stay valid for an hour. Called by
-- `pgfleet nodes add` and `pgfleet nodes rotate-key`.
create or replace function public.add_node_key(node text, new_hash text, new_prefix text) returns void
language plpgsql
as $$
declare
  found_node constant record := public.lock_node(node);
begin
  update public.node_keys
  set valid_until = least(valid_until, public.fleet_now() + interval '1 hour')
  where node_id = found_node.number or cluster_node_id = found_node.cluster_node;
  insert into public.node_keys (key_hash, key_prefix, node_id, cluster_node_id)
  values (new_hash, new_prefix, found_node.number, found_node.cluster_node);
  update autoscaler.nodes set api_key_hash = new_hash where id = found_node.number;
end
$$;

-- Ends all keys of a node now. Returns how many were valid. Called by `pgfleet nodes revoke-keys`, and by forget_node.
create or replace function public.revoke_node_keys(node text) returns integer
language plpgsql
as $$
declare
  revoked integer;
begin
  update public.node_keys set valid_until = public.fleet_now()
  where (node_id = public.node_number(node) or cluster_node_id = node)
    and coalesce(valid_until > public.fleet_now(), true);
  get diagnostics revoked = row_count;
  update autoscaler.nodes set api_key_hash = null where id = public.node_number(node) and api_key_hash is not null;
  return revoked;
end
$$;

-- Lets a login speak for a node, and for no other, and read that node's answers. The login is a member of pgfleet_node; one
-- that spoke for the node before does so no more. Called by `pgfleet nodes add --login` and `pgfleet nodes let`.
create or replace function public.bind_node_login(node text, new_login text) returns void
language plpgsql
as $$
declare
  found_node constant record := public.lock_node(node);
  queue constant text := public.reply_queue(node);
  bound_to text;
begin
  if not exists (
    select from pg_roles member join pg_roles of_nodes on of_nodes.rolname = 'pgfleet_node'
    where member.rolname = new_login and member.rolcanlogin and pg_has_role(member.oid, of_nodes.oid, 'member'))
  then
    raise exception 'there is no login % that is a member of pgfleet_node', coalesce(new_login, 'null')
      using errcode = 'undefined_object', hint = 'create role ... login; grant pgfleet_node to ...;';
  end if;
  select coalesce(node_id::text, cluster_node_id) into bound_to from public.node_logins where login = new_login;
  if bound_to <> node then
    raise exception '% speaks for node % already', new_login, bound_to
      using errcode = 'unique_violation', hint = 'A login speaks for one node.';
  end if;
  perform public.unbind_node_login(node);
  insert into public.node_logins (login, node_id, cluster_node_id)
  values (new_login, found_node.number, found_node.cluster_node);
  perform public.create_queue(queue);
  if not has_schema_privilege(new_login, 'pgmq', 'usage') then
    execute format('grant usage on schema pgmq to %I', new_login);
  end if;
  -- For pgmq.read, pop, delete and set_vt. It writes no message, neither here nor into an archive.
  execute format('grant select, update (vt, read_ct, last_read_at), delete on pgmq.%I to %I', 'q_' || queue, new_login);
end
$$;

-- Takes a node's login its right to speak for the node, and to read its answers. That login can hold the queue: then a node
-- that is deleted is deleted all the same, and its queue stays (drop_replies). Called by bind_node_login and
-- forget_node.
create or replace function public.unbind_node_login(node text) returns void
language plpgsql set lock_timeout = '1s'
as $$
declare
  answers constant regclass := to_regclass(format('pgmq.%I', 'q_' || public.reply_queue(node)));
  unbound text;
begin
  delete from public.node_logins where node_id = public.node_number(node) or cluster_node_id = node
  returning login into unbound;
  if answers is not null and exists (select from pg_roles where rolname = unbound) then
    execute format('revoke all on %s from %I', answers, unbound);
  end if;
exception when lock_not_available then
  -- Of a node that stays, answers are another login's from now on.
  if exists (select from autoscaler.nodes where id = public.node_number(node) and deleted_at is null)
    or exists (select from clusters.cluster_nodes where node_id = node and deleted_at is null)
  then
    raise exception 'somebody holds %: end their session first (pg_locks says who)', answers
      using errcode = 'lock_not_available';
  end if;
  delete from public.node_logins where node_id = public.node_number(node) or cluster_node_id = node;
end
$$;

-- The node for which a login speaks, by its number or id; null where it speaks for none, or the node was deleted. Called by
-- the door of the queues, with the rights of whoever sends: so everybody may.
create or replace function public.node_of(of_login text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select coalesce(n.id::text, c.node_id)
  from public.node_logins l
  left join autoscaler.nodes n on n.id = l.node_id and n.deleted_at is null
  left join clusters.cluster_nodes c on c.node_id = l.cluster_node_id and c.deleted_at is null
  where l.login = of_login
$$;

-- Drops the queue for answers to a node that is gone. Where somebody holds that queue it stays: nobody may read it any more,
-- and nothing is sent to it. Called by forget_node.
create or replace function public.drop_replies(node text) returns void
language plpgsql set lock_timeout = '1s'
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || public.reply_queue(node))) is not null then
    perform pgmq.drop_queue(public.reply_queue(node));
  end if;
exception when lock_not_available then
  raise warning 'somebody holds queue %: drop it when they are gone', public.reply_queue(node);
end
$$;

-- With a node that is deleted go its keys, its login's rights and its answers. A trigger of autoscaler.nodes and
-- clusters.cluster_nodes.
create or replace function public.forget_node() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  node constant text := coalesce(to_jsonb(old) ->> 'node_id', to_jsonb(old) ->> 'id');
begin
  perform public.revoke_node_keys(node), public.unbind_node_login(node), public.drop_replies(node);
  return null;
end
$$;

create or replace trigger forget_node after update of deleted_at on autoscaler.nodes
  for each row when (old.deleted_at is null and new.deleted_at is not null) execute function public.forget_node();
create or replace trigger forget_deleted_node after delete on autoscaler.nodes
  for each row execute function public.forget_node();
create or replace trigger forget_deleted_node after delete on clusters.cluster_nodes
  for each row execute function public.forget_node();
create or replace trigger forget_node after update of deleted_at on clusters.cluster_nodes
  for each row when (old.deleted_at is null and new.deleted_at is not null) execute function public.forget_node();

revoke execute on function public.add_node_key(text, text, text), public.revoke_node_keys(text),
  public.bind_node_login(text, text), public.unbind_node_login(text), public.drop_replies(text),
  public.lock_node(text), public.forget_node()
from public;
