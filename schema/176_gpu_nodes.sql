-- 176: how what the cluster has (024) is written down, and how much room that leaves. Workers call see_nodes, see_pods,
-- see_service_gone, take_gpu_look and note_gpu_look (workers/reservation/cluster/book.py); whoever has to know whether a
-- reservation has room asks gpu_rooms.
--
--   a worker's watch, or a list -> see_*: what differs is written, once, by the first who saw it
--     -> whose pod it is gets its turn; lines whose nodes have more room now are looked at

-- Whether a version of a thing in the cluster is newer than the one that is known. They are numbers, as far as we know;
-- of others nobody can tell, and what comes last counts.
create or replace function public.is_newer(version text, known text) returns boolean
language sql immutable parallel safe
as $$
  select case
    when version ~ '^[0-9]{1,18}$' and known ~ '^[0-9]{1,18}$' then version::bigint > known::bigint
    else version is distinct from known
  end
$$;

-- Gives reservations that are not over a turn, out of turn: the number of the ticket is that of a nudge.
create or replace function public.nudge_reservations(ids text[]) returns void
language plpgsql
as $$
declare
  bodies jsonb[];
begin
  bodies := array(
    select jsonb_build_object('action', 'advance', 'reservation_id', r.reservation_id, 'ticket', -1)
    from public.reservations r where r.reservation_id = any (ids) and r.reservation_ended is null
    order by 1);
  if cardinality(bodies) > 0 then
    perform pgmq.send_batch('gpu_reservations', bodies);
  end if;
end
$$;

-- Writes down nodes as they were seen. After a list of all of them, which was begun at `listed_at`, those that are not
-- among them are gone, and what was known before is overwritten; what was seen meanwhile only by what is newer: that one
-- is gone is seen, too.
create or replace function public.see_nodes(nodes jsonb, listed_at timestamptz) returns void
language plpgsql
as $$
begin
  insert into public.gpu_nodes as k (node_name, gpu_type, instance_type, zone, gpus, is_ready, is_cordoned, problem,
    addresses, resource_version, gone_at)
  select s.name, s.gpu_type, s.instance_type, s.zone, s.gpus, s.is_ready, s.is_cordoned, s.problem, s.addresses,
    s.version, case when s.is_gone then public.fleet_now() end
  from jsonb_to_recordset(nodes) s(name text, gpu_type text, instance_type text, zone text, gpus integer,
    is_ready boolean, is_cordoned boolean, problem text, addresses jsonb, version text, is_gone boolean)
  order by s.name
  on conflict (node_name) do update set
    gpu_type = excluded.gpu_type, instance_type = excluded.instance_type, zone = excluded.zone, gpus = excluded.gpus,
    is_ready = excluded.is_ready, is_cordoned = excluded.is_cordoned, problem = excluded.problem,
    addresses = excluded.addresses, resource_version = excluded.resource_version, seen_at = public.fleet_now(),
    gone_at = excluded.gone_at
  where (k.seen_at < listed_at or public.is_newer(excluded.resource_version, k.resource_version))
    and (k.gpu_type, k.instance_type, k.zone, k.gpus, k.is_ready, k.is_cordoned, k.problem, k.addresses, k.gone_at is null)
      is distinct from (excluded.gpu_type, excluded.instance_type, excluded.zone, excluded.gpus, excluded.is_ready,
      excluded.is_cordoned, excluded.problem, excluded.addresses, excluded.gone_at is null);
  update public.gpu_nodes k set gone_at = public.fleet_now(), seen_at = public.fleet_now()
  where k.gone_at is null and k.seen_at < listed_at
    and k.node_name not in (select s.name from jsonb_to_recordset(nodes) s(name text));
end
$$;

-- Writes down our pods as they were seen, as see_nodes does nodes; the rows of those that changed get their turn.
create or replace function public.see_pods(pods jsonb, in_namespace text, listed_at timestamptz) returns void
language plpgsql
as $$
declare
  owners text[];
begin
  with written as (
    insert into public.gpu_pods as k (pod_uid, pod_name, namespace, reservation_id, gpu_type, node_name, gpus, phase,
      is_ready, is_deleting, fingerprint, resource_version, gone_at)
    select s.uid, s.name, in_namespace, s.reservation_id, s.gpu_type, s.node_name, s.gpus, s.phase, s.is_ready,
      s.is_deleting, s.fingerprint, s.version, case when s.is_gone then public.fleet_now() end
    from jsonb_to_recordset(pods) s(uid text, name text, reservation_id text, gpu_type text, node_name text, gpus integer,
      phase text, is_ready boolean, is_deleting boolean, fingerprint text, version text, is_gone boolean)
    order by s.uid
    on conflict (pod_uid) do update set
      node_name = excluded.node_name, gpus = excluded.gpus, phase = excluded.phase, is_ready = excluded.is_ready,
      is_deleting = excluded.is_deleting, fingerprint = excluded.fingerprint,
      resource_version = excluded.resource_version, seen_at = public.fleet_now(), gone_at = excluded.gone_at
    where (k.seen_at < listed_at or public.is_newer(excluded.resource_version, k.resource_version))
      and (k.fingerprint, k.gone_at is null) is distinct from (excluded.fingerprint, excluded.gone_at is null)
    returning reservation_id),
  removed as (
    update public.gpu_pods k set gone_at = public.fleet_now(), seen_at = public.fleet_now()
    where k.namespace = in_namespace and k.gone_at is null and k.seen_at < listed_at
      and k.pod_uid not in (select s.uid from jsonb_to_recordset(pods) s(uid text))
    returning reservation_id)
  select array_agg(distinct reservation_id) into owners
  from (select reservation_id from written union all select reservation_id from removed) changed
  where reservation_id is not null;
  perform public.nudge_reservations(owners);
end
$$;

-- Notes that the service for SSH of a pod of ours is gone. The pod's row gets its turn, once; a pod that is going, or
-- gone, takes its service with it.
create or replace function public.see_service_gone(of_pod text, version text) returns void
language sql
as $$
  with noted as (
    update public.gpu_pods k set service_gone_version = version
    where k.pod_uid = of_pod and k.gone_at is null and not k.is_deleting
      and (k.service_gone_version is null or public.is_newer(version, k.service_gone_version))
    returning reservation_id)
  select public.nudge_reservations(array(select reservation_id from noted where reservation_id is not null))
$$;

-- The look at all nodes is the caller's if it is due: then 0, else for how many seconds it is not.
create or replace function public.take_gpu_look() returns double precision
language plpgsql
as $$
begin
  update public.gpu_looks l set next_at = public.fleet_now() + l.every
  where l.only_one in (
    select due.only_one from public.gpu_looks due where due.next_at <= public.fleet_now() for update skip locked);
  if found then
    return 0;
  end if;
  return (select greatest(extract(epoch from l.next_at - public.fleet_now()), 1) from public.gpu_looks l);
end
$$;

-- Writes down what a look has found besides nodes: how many GPUs pods have that are not ours, by node, and what could
-- not be seen, if anything. A look that saw nothing (`others` is null) leaves what is known as old as it is.
create or replace function public.note_gpu_look(looker text, others jsonb, trouble text) returns void
language plpgsql
as $$
begin
  update public.gpu_nodes n set gpus_of_others = coalesce((others ->> n.node_name)::integer, 0)
  where others is not null and n.gpus_of_others <> coalesce((others ->> n.node_name)::integer, 0);
  update public.gpu_looks set problem = trouble,
    seen_at = case when others is null then seen_at else public.fleet_now() end,
    seen_by = case when others is null then seen_by else looker end;
  if others is not null then
    perform public.note_availability(looker);
  end if;
end
$$;

-- Nodes on which an operator lets nobody start now (038), and how that is said.
create or replace view public.cordoned_nodes as
select c.node_name, c.until, format('is cordoned by %s until %s%s', c.by_whom,
  to_char(c.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), ': ' || nullif(c.reason, '')) as problem
from public.node_cordons c where c.until > public.fleet_now();

-- The nodes that there are, each with the GPUs that pods have on it, whoever they belong to, and those that are free. A
-- reservation ends when its pod was seen gone, and the watch may hear of it later: a pod as it was seen before has none.
create or replace view public.gpu_node_room as
with taken as materialized (
  -- All nodes' at once, and then each by its name: node by node, pods would be read as often as there are nodes where
  -- statistics are of an empty table. Most pods are of a row that has not ended: those are hashed, and only the others are
  -- looked up one by one.
  select jsonb_object_agg(p.node_name, p.gpus) as by_node from (
    select o.node_name, sum(o.gpus) as gpus from public.gpu_pods o
    where o.node_name is not null and o.gone_at is null and o.phase not in ('Succeeded', 'Failed')
      and (o.reservation_id in (select u.reservation_id from public.reservations u where u.reservation_ended is null)
        or exists (
          select from public.reservations r
          where r.reservation_id = o.reservation_id and r.reservation_ended >= o.seen_at and r.forced_at is null) is not true)
    group by o.node_name) p)
select n.node_name, n.gpu_type, n.zone, n.gpus, why.problem, n.gpus_of_others + ours.gpus as gpus_used,
  case when why.problem is null then greatest(n.gpus - n.gpus_of_others - ours.gpus, 0) else 0 end as gpus_free
from public.gpu_nodes n
left join public.cordoned_nodes c using (node_name)
cross join lateral (select coalesce(n.problem, c.problem) as problem) why
cross join taken
cross join lateral (select coalesce((taken.by_node ->> n.node_name)::integer, 0) as gpus) ours
where n.gone_at is null;

-- GPUs that reservations hold whose pod is on no node yet: they will be taken from some node.
create or replace view public.gpus_to_place as
select r.gpu_type, r.reservation_id, r.gpus_held as gpus, r.kept_to_node
from public.reservations r
where r.status = 'preparing' and r.gpus_held > 0
  and (r.reservation_id in (
    select p.reservation_id from public.gpu_pods p
    where p.gone_at is null and p.node_name is not null and p.phase not in ('Succeeded', 'Failed'))) is not true;

-- For each GPU type, what there is to know before somebody of it is admitted. unheld: GPUs of the operator's total that
-- neither a reservation nor a pod in quarantine has. is_seen: whether nodes were seen in the last two minutes; if not,
-- totals count and nothing else. most_free: on one node, before gpus_to_place are placed.
create or replace view public.gpu_rooms as
select g.gpu_type, coalesce(g.total_cluster_gpus, 0) - g.held_gpus - q.gpus as unheld,
  l.seen_at, coalesce(l.seen_at > public.fleet_now() - interval '2 minutes', false) as is_seen,
  extract(epoch from public.fleet_now() - l.seen_at)::float8 as seen_ago_s,
  n.names, n.free, n.problems, coalesce(n.most_free, 0) as most_free,
  p.to_place, p.to_place_on, n.zones, n.sizes
from public.gpu_types g
cross join public.gpu_looks l
cross join lateral (
  select coalesce(sum(p.gpus), 0)::integer as gpus from public.pod_quarantine p
  where p.gpu_type = g.gpu_type and p.gone_at is null) q
cross join lateral (
  select coalesce(array_agg(r.node_name order by r.node_name), '{}') as names,
    coalesce(array_agg(r.gpus_free order by r.node_name), '{}') as free,
    coalesce(array_agg(r.problem order by r.node_name), '{}') as problems, max(r.gpus_free) as most_free,
    coalesce(array_agg(r.zone order by r.node_name), '{}') as zones,
    coalesce(array_agg(r.gpus order by r.node_name), '{}') as sizes
  from public.gpu_node_room r where r.gpu_type = g.gpu_type) n
cross join lateral (
  -- Those that are kept to a node first.
  select coalesce(array_agg(t.gpus order by t.kept_to_node, t.gpus desc), '{}') as to_place,
    coalesce(array_agg(t.kept_to_node order by t.kept_to_node, t.gpus desc), '{}') as to_place_on
  from public.gpus_to_place t where t.gpu_type = g.gpu_type) p;

-- How many GPUs a type has: of one that follows its nodes, those of the nodes that are ready, and of others those that
-- pods have. As long as nodes are not known, what it had. Called by note_availability and guard_gpus.
create or replace function public.total_of(kept public.gpu_types) returns integer
language sql stable
as $$
  select case
    when kept.follows_nodes
      and exists (select from public.gpu_looks l where l.seen_at > public.fleet_now() - interval '2 minutes')
    then (
      select coalesce(sum(case when n.is_ready then r.gpus else least(r.gpus, r.gpus_used) end), 0)::integer
      from public.gpu_node_room r join public.gpu_nodes n using (node_name)
      where r.gpu_type = kept.gpu_type)
    else coalesce(kept.total_cluster_gpus, 0)
  end
$$;

-- Writes it into the audit when a total has followed the nodes. A trigger of public.gpu_types.
create or replace function public.note_total() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into autoscaler.audit_logs (user_email, action, category, resource_type, resource_id, resource_name, description,
    details, timestamp)
  values ('pgfleet', 'GPU_TYPE_FOLLOWED', 'CONFIG', 'gpu_type', new.gpu_type, new.gpu_type,
    format('%s has %s GPUs, as its nodes have; before, %s', new.gpu_type, new.total_cluster_gpus, old.total_cluster_gpus),
    jsonb_build_object('from', old.total_cluster_gpus, 'to', new.total_cluster_gpus, 'held', new.held_gpus)::text,
    public.fleet_now() at time zone 'UTC');
  return null;
end
$$;
revoke execute on function public.note_total() from public;

create or replace trigger note_total after update on public.gpu_types
  for each row when (
    new.follows_nodes and old.follows_nodes and new.total_cluster_gpus is distinct from old.total_cluster_gpus)
  execute function public.note_total();

-- How many instances of a type would serve all who hold or wait for its GPUs now: their GPUs in whole instances, however many
-- those are. Whoever is booked for later, or waits for its disk, does not wait for GPUs. Null for a type without GPUs. Called
-- by note_availability; an autoscaler of instances reads it as gpu_types.desired_capacity.
create or replace function public.instances_wanted(kept public.gpu_types) returns integer
language sql stable
as $$
  select ceil((kept.held_gpus + (
      select coalesce(sum(w.gpu_count), 0) from public.waiting_reservations w
      where w.gpu_type = kept.gpu_type and not w.is_kept
        and coalesce(w.start_at <= public.fleet_now(), true)
    ))::numeric / nullif(coalesce(nullif(kept.max_per_node, 0), kept.max_gpus), 0))::integer
$$;

-- Keeps what 009 shows of GPU types; guard_gpus (111) sets the total of those that follow their nodes. Called after each look, and when nodes have changed:
-- pods come and go too often for it.
create or replace function public.note_availability(by_whom text, of_types text[] default null) returns void
language sql
set enable_nestloop = off
as $$
  update public.gpu_types g set available_gpus = s.available, max_reservable = s.most, full_nodes_available = s.whole,
    running_instances = s.nodes, desired_capacity = public.instances_wanted(g), last_availability_update = public.fleet_now(),
    last_availability_updated_by = left(coalesce(by_whom, last_availability_updated_by), 100)
  from (
    select r.gpu_type, r.nodes, r.whole,
      greatest(least(r.free - r.to_place, r.unheld), 0) as available, r.total,
      greatest(least(r.most_free, r.free - r.to_place, r.unheld), 0) as most
    from (
      select m.gpu_type, t.total, m.unheld + t.total - coalesce(g.total_cluster_gpus, 0) as unheld, m.most_free, cardinality(m.names) as nodes,
        (select coalesce(sum(f), 0)::integer from unnest(m.free) f) as free,
        (select coalesce(sum(t), 0)::integer from unnest(m.to_place) t) as to_place,
        (select count(*)::integer from public.gpu_node_room n
         where n.gpu_type = m.gpu_type and n.problem is null and n.gpus > 0 and n.gpus_used = 0) as whole
      from public.gpu_rooms m
      join public.gpu_types g using (gpu_type)
      cross join lateral (select public.total_of(g) as total) t
      where of_types is null or m.gpu_type = any (of_types)) r) s
  where g.gpu_type = s.gpu_type
    and (of_types is null or (
        g.available_gpus, g.max_reservable, g.full_nodes_available, g.running_instances, coalesce(g.total_cluster_gpus, 0))
      is distinct from (s.available, s.most, s.whole, s.nodes, s.total))
$$;

-- After nodes or pods have changed: has the lines of GPU types looked at that have more room on some node now.
create or replace function public.admit_to_nodes(of_types text[]) returns void
language sql
as $$
  select pgmq.send('gpu_reservations', jsonb_build_object('action', 'admit', 'gpu_type', waiting.gpu_type))
  from (
    select distinct r.gpu_type from public.reservations r
    where r.gpu_type = any (of_types) and r.status in ('pending', 'queued') order by 1) waiting
$$;

-- A trigger of public.gpu_nodes.
create or replace function public.note_node_room() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  changed text[];
  grown text[];
begin
  if tg_op = 'INSERT' then
    changed := array(select distinct n.gpu_type from new_rows n);
    grown := array(select distinct n.gpu_type from new_rows n where n.gone_at is null and n.problem is null);
  else
    changed := array(select n.gpu_type from new_rows n union select o.gpu_type from old_rows o);
    grown := array(
      select distinct n.gpu_type from new_rows n join old_rows o using (node_name)
      where n.gone_at is null and n.problem is null
        and (o.gone_at is not null or o.problem is not null or n.gpu_type <> o.gpu_type
          or n.gpus - n.gpus_of_others > o.gpus - o.gpus_of_others));
  end if;
  perform public.note_availability(null, changed);
  perform public.admit_to_nodes(grown);
  return null;
end
$$;

revoke execute on function public.note_node_room() from public;

create or replace trigger note_node_room_new after insert on public.gpu_nodes
  referencing new table as new_rows for each statement execute function public.note_node_room();
create or replace trigger note_node_room_changed after update on public.gpu_nodes
  referencing old table as old_rows new table as new_rows for each statement execute function public.note_node_room();

-- Where pods of ours give GPUs of their nodes back. A trigger of public.gpu_pods.
create or replace function public.note_pod_room() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.admit_to_nodes(array(
    select distinct n.gpu_type from new_rows n join old_rows o using (pod_uid)
    where n.gpus > 0 and o.node_name is not null and o.gone_at is null and o.phase not in ('Succeeded', 'Failed')
      and (n.gone_at is not null or n.phase in ('Succeeded', 'Failed'))));
  return null;
end
$$;

revoke execute on function public.note_pod_room() from public;

create or replace trigger note_pod_room after update on public.gpu_pods
  referencing old table as old_rows new table as new_rows for each statement execute function public.note_pod_room();
