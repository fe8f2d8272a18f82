-- 132: what a Hopsworks cluster that changes does for those who wait, and who of them may have a seat.

-- Gives every cluster a breaker. A trigger of hopsworks.hopsworks_clusters.
create or replace function hopsworks.make_breaker() returns trigger
language plpgsql
as $$
begin
  insert into hopsworks.cluster_breakers (cluster_id) values (new.id) on conflict do nothing;
  return null;
end
$$;

create or replace trigger make_breaker after insert on hopsworks.hopsworks_clusters
  for each row execute function hopsworks.make_breaker();

-- Sends `admit` when a cluster has room and somebody waits, and `probe` when a cluster whose breaker is open got
-- another address or key. Runs with its owner's rights, so that who may change a cluster need not be allowed to send
-- messages. A trigger of hopsworks.hopsworks_clusters.
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
  if tg_op = 'UPDATE' and (new.api_key, new.api_url) is distinct from (old.api_key, old.api_url)
    and exists (select from hopsworks.cluster_breakers where cluster_id = new.id and retry_at is not null)
  then
    perform pgmq.send('cluster_assignments', jsonb_build_object('action', 'probe', 'cluster_id', new.id, 'once', true));
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
as $$
  with with_room as (
    select c.id
    from hopsworks.hopsworks_clusters c join hopsworks.cluster_breakers b on b.cluster_id = c.id
    where c.status = 'active' and c.current_users < c.max_users and b.retry_at is null
  ),
  without_room as (
    select c.id
    from hopsworks.hopsworks_clusters c join hopsworks.cluster_breakers b on b.cluster_id = c.id
    where c.status in ('active', 'full') and not coalesce(c.current_users < c.max_users, false) and b.retry_at is null
  )
  select a.id
  from hopsworks.user_hopsworks_assignments a
  join hopsworks.users u on u.id = a.user_id
  left join hopsworks.user_hopsworks_assignments o
    on o.user_id = u.account_owner_id and o.hopsworks_cluster_id is not null and o.suspended_at is null
  where a.status = 'pending' and a.suspended_at is null and a.hopsworks_cluster_id is null
    and exists (select from with_room)
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
