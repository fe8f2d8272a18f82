-- 132: what a Hopsworks cluster that changes does for those who wait, and who of them may have a seat.

-- Clusters that nobody calls but the probe, as they do not answer: their open outages (023). kind: 'unreachable', or
-- 'api_key' (it refuses ours: an operator has to act). Read by the worker, by `pgfleet hopsworks` and the doctor.
create or replace view hopsworks.unanswered_clusters as
select c.id as cluster_id, c.name,
  case o.code when 'CLUSTER_KEY_REFUSED' then 'api_key' else 'unreachable' end as kind,
  o.code, o.reason, o.began_at, o.retry_at, o.probes
from public.outages o join hopsworks.hopsworks_clusters c on o.dependency = 'hopsworks:' || c.id
where o.ended_at is null and o.calls = 'read';

-- Sends `admit` when a cluster has room and somebody waits; one that does not answer and got another address or key is
-- probed at once. Where users were about to leave a cluster that takes users again, a `drain` finds that nobody has to. Runs with its owner's rights, so that who may change a cluster need not be allowed to send messages.
-- A trigger of hopsworks.hopsworks_clusters.
create or replace function hopsworks.tell_line() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.status = 'active' and new.current_users < new.max_users
    and exists (select from hopsworks.user_hopsworks_assignments where status = 'pending')
  then
    perform pgmq.send('cluster_assignments', '{"action": "admit"}'::jsonb);
  end if;
  if tg_op = 'UPDATE' and (new.api_key, new.api_url) is distinct from (old.api_key, old.api_url) then
    update public.outages set retry_at = public.fleet_now()
    where dependency = 'hopsworks:' || new.id and ended_at is null;
  end if;
  if tg_op = 'UPDATE' and new.status in ('active', 'full') and old.status in ('maintenance', 'inactive')
    and exists (
      select from hopsworks.user_hopsworks_assignments where hopsworks_cluster_id = new.id and detail like 'Stays on %')
  then
    perform pgmq.send('cluster_assignments', jsonb_build_object('action', 'drain', 'cluster_id', new.id));
  end if;
  return null;
end
$$;

revoke execute on function hopsworks.tell_line() from public;
create or replace trigger tell_line_new after insert on hopsworks.hopsworks_clusters
  for each row execute function hopsworks.tell_line();
create or replace trigger tell_line after update on hopsworks.hopsworks_clusters
  for each row when (
    new.current_users < old.current_users or new.max_users is distinct from old.max_users
    or new.status is distinct from old.status
    or new.api_key is distinct from old.api_key or new.api_url is distinct from old.api_url)
  execute function hopsworks.tell_line();

-- The rows that a look at the line may give a seat, oldest first: a free seat on the cluster that was named, on the
-- owner's for a team member (with members_overflow: on any if that is full), on any for the rest. Clusters that do
-- not answer take nobody. Called by the assignment worker.
create or replace function hopsworks.seat_candidates(most integer, members_overflow boolean) returns setof uuid
language sql stable
set enable_nestloop = off
as $$
  with with_room as (
    select c.id
    from hopsworks.hopsworks_clusters c
    where c.status = 'active' and c.current_users < c.max_users
      and c.id not in (select cluster_id from hopsworks.unanswered_clusters)
  ),
  without_room as (
    select c.id
    from hopsworks.hopsworks_clusters c
    where c.status in ('active', 'full') and not coalesce(c.current_users < c.max_users, false)
      and c.id not in (select cluster_id from hopsworks.unanswered_clusters)
  ),
  waiting as materialized (
    select a.id, a.user_id, a.wanted_cluster_id, a.asked_at
    from hopsworks.user_hopsworks_assignments a
    where a.status = 'pending' and a.suspended_at is null and a.hopsworks_cluster_id is null
  ),
  -- By arrays: joined by hash, all users and assignments would be read for the few who wait.
  people as materialized (
    select u.id, u.account_owner_id from hopsworks.users u where u.id = any (array(select w.user_id from waiting w))
  ),
  owners as materialized (
    select o.user_id, o.hopsworks_cluster_id
    from hopsworks.user_hopsworks_assignments o
    where o.user_id = any (array(select p.account_owner_id from people p where p.account_owner_id is not null))
      and o.hopsworks_cluster_id is not null and o.suspended_at is null
  )
  select a.id
  from waiting a
  join people u on u.id = a.user_id
  left join owners o on o.user_id = u.account_owner_id
  where exists (select from with_room)
    and case
      when u.account_owner_id is not null then o.hopsworks_cluster_id in (select id from with_room)
        or members_overflow and o.hopsworks_cluster_id in (select id from without_room)
      when a.wanted_cluster_id is not null then a.wanted_cluster_id in (select id from with_room)
      else true
    end
  order by a.asked_at nulls first, a.id
  limit most
$$;

-- How many projects a user may have, by who pays: the owner does for a team member (0); 5 who pays; 1 the others.
-- Called by the assignment worker.
create or replace function hopsworks.projects_allowed(account_owner_id text, stripe_customer_id text) returns integer
language sql immutable parallel safe
as $$
  select case when account_owner_id is not null then 0 when coalesce(stripe_customer_id, '') <> '' then 5 else 1 end
$$;

-- Closes a cluster to new users, unless it is out of use as it is; its state. PF008 where there is none. Called by the API,
-- before it asks for the users to be moved.
create or replace function hopsworks.close_to_users(of_cluster uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  now_is text;
begin
  perform public.must_ask_as('{ADMIN}');
  update hopsworks.hopsworks_clusters c set status = case when c.status = 'inactive' then c.status else 'maintenance' end
  where c.id = of_cluster returning c.status into now_is;
  if not found then
    raise exception 'there is no Hopsworks cluster %', coalesce(of_cluster::text, 'null') using errcode = 'PF008';
  end if;
  return now_is;
end
$$;

revoke execute on function hopsworks.close_to_users(uuid) from public;

-- Lets a cluster take new users again; its state, which is full where no seat is free. PF008 where there is none. Called by the API.
create or replace function hopsworks.open_to_users(of_cluster uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  now_is text;
begin
  perform public.must_ask_as('{ADMIN}');
  update hopsworks.hopsworks_clusters c set status = 'active'
  where c.id = of_cluster and c.status not in ('active', 'full');
  select c.status into now_is from hopsworks.hopsworks_clusters c where c.id = of_cluster;
  if not found then
    raise exception 'there is no Hopsworks cluster %', coalesce(of_cluster::text, 'null') using errcode = 'PF008';
  end if;
  return now_is;
end
$$;

revoke execute on function hopsworks.open_to_users(uuid) from public;
