-- What the steps of assignments look at. `row_version` is PostgreSQL's own: any change of the row makes a new one.

-- name: now
-- The database's time.
select public.fleet_now();

-- name: assignments
-- The assignments of users, and of the owners of their accounts.
select a.xmin::text as row_version, a.*
from hopsworks.user_hopsworks_assignments a
where a.user_id in (
  select unnest(:users::text[])
  union
  select u.account_owner_id from hopsworks.users u where u.id = any(:users::text[]));

-- name: users
-- Users, each with how many projects they may have.
select u.xmin::text as row_version, u.*,
  hopsworks.projects_allowed(u.account_owner_id, u.stripe_customer_id) as projects_allowed
from hopsworks.users u
where u.id = any(:users::text[]);

-- name: clusters
-- Every cluster, without the kubeconfig, which can be large and which only a measurement needs.
select c.xmin::text as row_version, c.id, c.name, c.api_url, c.api_key, c.max_users, c.current_users, c.status,
  c.metadata, c.created_at, c.updated_at
from hopsworks.hopsworks_clusters c;

-- name: breakers
-- The breaker of every cluster.
select b.xmin::text as row_version, b.* from hopsworks.cluster_breakers b;

-- name: line
-- Assignments that may find a seat, in the order of the line.
select a.xmin::text as row_version, a.*
from hopsworks.user_hopsworks_assignments a
where a.id in (select hopsworks.seat_candidates(:most::integer, :overflow::boolean))
order by a.asked_at nulls first, a.id;

-- name: failures
-- What is wrong at present with clusters, and with these users.
select f.xmin::text as row_version, f.*
from hopsworks.health_check_failures f
where f.resolved_at is null and (f.user_id is null or f.user_id = any(:users::text[]));

-- name: members
-- The team members of these owners that have an assignment.
select u.account_owner_id, u.id
from hopsworks.users u join hopsworks.user_hopsworks_assignments a on a.user_id = u.id
where u.account_owner_id = any(:users::text[])
order by u.id;

-- name: neighbours
-- Others with the same mailbox that are on a cluster: an e-mail in other letter case is the same, and the same account.
select u.id, other.id, a.hopsworks_cluster_id::text, a.status, a.hopsworks_user_id
from hopsworks.users u
join hopsworks.users other on lower(other.email) = lower(u.email) and other.id <> u.id
join hopsworks.user_hopsworks_assignments a on a.user_id = other.id
where u.id = any(:users::text[]) and a.hopsworks_cluster_id is not null;

-- name: untended
-- For the sweep, those who wait for an account first: assignments without their ticket, and active ones whose server
-- should be told something and has not been. Where it could not be, the account's next check tells it; a cluster that is
-- switched off, or does not answer, is not asked about its accounts.
with forgotten as (
  select f.row_id as user_id, f.ticket, f.since, false as is_active from public.forgotten_assignment f
), untold as (
  select a.user_id, a.ticket, a.status_since as since, true as is_active
  from hopsworks.user_hopsworks_assignments a
  join hopsworks.users u on u.id = a.user_id
  join hopsworks.hopsworks_clusters c on c.id = a.hopsworks_cluster_id
  left join hopsworks.cluster_breakers b on b.cluster_id = a.hopsworks_cluster_id
  where a.status = 'active' and c.status <> 'inactive' and b.retry_at is null
    and (a.account_enabled is null
      or a.max_projects is distinct from hopsworks.projects_allowed(u.account_owner_id, u.stripe_customer_id))
    and not exists (
      select from hopsworks.health_check_failures f
      where f.user_id = a.user_id and f.check_name = 'account' and f.resolved_at is null)
    and not exists (
      select from pgmq.q_cluster_assignments q
      where q.message ->> 'action' = 'advance' and q.message ->> 'user_id' = a.user_id
        and q.message ->> 'ticket' = a.ticket::text)
)
select t.user_id, t.ticket, a.hopsworks_cluster_id
from (select * from forgotten union all select * from untold) t
join hopsworks.user_hopsworks_assignments a using (user_id)
order by t.is_active, t.since
limit :most;

-- name: due
-- For the sweep of accounts: active ones that nobody has checked for so long, on clusters that can be asked.
select a.user_id, a.ticket, a.hopsworks_cluster_id
from hopsworks.user_hopsworks_assignments a
join hopsworks.hopsworks_clusters c on c.id = a.hopsworks_cluster_id
left join hopsworks.cluster_breakers b on b.cluster_id = a.hopsworks_cluster_id
where a.status = 'active' and c.status <> 'inactive' and b.retry_at is null
  and (a.checked_at is null or a.checked_at < public.fleet_now() - :check_every::interval)
  and not exists (
    select from pgmq.q_cluster_assignments q
    where q.message ->> 'action' = 'advance' and q.message ->> 'user_id' = a.user_id
      and q.message ->> 'ticket' = a.ticket::text)
order by a.checked_at nulls first
limit :most;

-- name: stuck
-- Users whose account is to be made on a cluster that may answer again.
select a.user_id
from hopsworks.user_hopsworks_assignments a
where a.status = 'creating_user' and a.hopsworks_cluster_id = :cluster::uuid
order by a.status_since
limit :most;

-- name: unprobed
-- Clusters whose breaker is open, and nobody looks whether they answer again.
select b.cluster_id::text
from hopsworks.cluster_breakers b
where b.retry_at < public.fleet_now() - interval '10 seconds'
  and not exists (
    select from pgmq.q_cluster_assignments q
    where q.message ->> 'action' = 'probe' and q.message ->> 'cluster_id' = b.cluster_id::text);

-- name: counted
-- How many assignments each cluster has.
select a.hopsworks_cluster_id::text, count(*)
from hopsworks.user_hopsworks_assignments a
where a.hopsworks_cluster_id is not null
group by a.hopsworks_cluster_id;

-- name: page
-- The next users of a cluster that is drained.
select a.user_id
from hopsworks.user_hopsworks_assignments a
where a.hopsworks_cluster_id = :cluster::uuid and a.user_id > :after::text
order by a.user_id
limit :most;

-- name: closings
-- Accounts of these users that are to be closed.
select k.xmin::text as row_version, k.*
from hopsworks.accounts_to_close k
where k.closed_at is null and k.user_id = any(:users::text[]);

-- name: unclosed
-- For the sweep: accounts that are to be closed, and nobody is about to.
select k.user_id, k.hopsworks_cluster_id::text, k.hopsworks_user_id
from hopsworks.accounts_to_close k
join hopsworks.hopsworks_clusters c on c.id = k.hopsworks_cluster_id
where k.closed_at is null and k.asked_at < public.fleet_now() - interval '10 seconds' and c.status <> 'inactive'
  and not exists (
    select from pgmq.q_cluster_assignments q
    where q.message ->> 'action' = 'close_account' and q.message ->> 'user_id' = k.user_id
      and q.message ->> 'cluster_id' = k.hopsworks_cluster_id::text)
order by k.asked_at
limit :most;

-- name: drains
-- The numbers of the messages that drain these clusters.
select q.message ->> 'cluster_id', q.msg_id
from pgmq.q_cluster_assignments q
where q.message ->> 'action' = 'drain' and q.message ->> 'cluster_id' = any(:clusters::text[]);

-- name: admit_is_due
-- Whether somebody is about to look at the line, who has not begun.
select exists (
  select from pgmq.q_cluster_assignments q
  where q.message ->> 'action' = 'admit' and q.vt <= public.fleet_now());
