-- What the steps of assignments look at. `row_version` is PostgreSQL's own: any change of the row makes a new one.
--
-- Rows are found by arrays of keys, so that a plan reads what is asked for also where statistics are of an empty table.
-- What is for sweeps reads whole tables, and its joins are by hash (join_by_hash).

-- name: now
-- The database's time.
select public.fleet_now();

-- name: assignments
-- The assignments of users, and of the owners of their accounts.
select a.xmin::text as row_version, a.*
from hopsworks.user_hopsworks_assignments a
where a.user_id = any (array(
  select unnest(:users::text[])
  union
  select u.account_owner_id from hopsworks.users u where u.id = any(:users::text[])));

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

-- name: cluster
-- One cluster, as among all.
select c.xmin::text as row_version, c.id, c.name, c.api_url, c.api_key, c.status, c.metadata
from hopsworks.hopsworks_clusters c
where c.id = :cluster::uuid;

-- name: line
-- Assignments that may find a seat, in the order of the line.
select a.xmin::text as row_version, a.*
from hopsworks.user_hopsworks_assignments a
where a.id = any (array(select hopsworks.seat_candidates(:most::integer, :overflow::boolean)))
order by a.asked_at nulls first, a.id;

-- name: failures
-- What is wrong at present with clusters, and with these users.
select f.xmin::text as row_version, f.*
from hopsworks.health_check_failures f
where f.resolved_at is null and (f.user_id is null or f.user_id = any(:users::text[]));

-- name: members
-- The team members of these owners that have an assignment.
with members as materialized (
  select u.account_owner_id, u.id from hopsworks.users u where u.account_owner_id = any(:users::text[])
)
select m.account_owner_id, m.id
from members m
where (m.id in (
  select a.user_id from hopsworks.user_hopsworks_assignments a where a.user_id = any (array(select id from members)))) is true
order by m.id;

-- name: neighbours
-- Others with the same mailbox that are on a cluster: an e-mail in other letter case is the same, and the same account.
with asked as materialized (
  select u.id, lower(u.email) as mailbox from hopsworks.users u where u.id = any(:users::text[])
), same as materialized (
  select u.id, lower(u.email) as mailbox from hopsworks.users u
  where lower(u.email) = any (array(select a.mailbox from asked a))
), placed as materialized (
  select a.user_id, a.hopsworks_cluster_id::text as cluster_id, a.status, a.hopsworks_user_id
  from hopsworks.user_hopsworks_assignments a
  where a.user_id = any (array(select s.id from same s)) and a.hopsworks_cluster_id is not null
)
select asked.id, same.id, p.cluster_id, p.status, p.hopsworks_user_id
from asked join same using (mailbox) join placed p on p.user_id = same.id
where same.id <> asked.id;

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
  where a.status = 'active' and c.status <> 'inactive'
    and c.id not in (select cluster_id from hopsworks.unanswered_clusters)
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
where a.status = 'active' and c.status <> 'inactive'
  and c.id not in (select cluster_id from hopsworks.unanswered_clusters)
  and (a.checked_at is null or a.checked_at < public.fleet_now() - :check_every::interval)
  and not exists (
    select from pgmq.q_cluster_assignments q
    where q.message ->> 'action' = 'advance' and q.message ->> 'user_id' = a.user_id
      and q.message ->> 'ticket' = a.ticket::text)
order by a.checked_at nulls first
limit :most;

-- name: counted
-- How many seats of each cluster are counted as taken, and how many assignments it has, at one moment.
select c.id::text, c.current_users, count(a.id)
from hopsworks.hopsworks_clusters c
left join hopsworks.user_hopsworks_assignments a on a.hopsworks_cluster_id = c.id
group by c.id;

-- name: page
-- The next users of a cluster that is drained.
select a.user_id
from hopsworks.user_hopsworks_assignments a
where a.hopsworks_cluster_id = :cluster::uuid and a.user_id > :after::text
order by a.user_id
limit :most;

-- name: closings
-- The accounts that these users have left on clusters, those that are closed, too.
select k.xmin::text as row_version, k.*
from hopsworks.accounts_to_close k
where k.user_id = any(:users::text[]);

-- name: holders
-- Whose the accounts are on clusters where one of these users is to get one, and on these clusters.
select a.hopsworks_cluster_id::text, a.hopsworks_user_id, a.user_id
from hopsworks.user_hopsworks_assignments a
where a.hopsworks_user_id is not null and a.hopsworks_cluster_id = any (array(
  select made.hopsworks_cluster_id from hopsworks.user_hopsworks_assignments made
  where made.user_id = any(:users::text[]) and made.status = 'creating_user'
  union all
  select unnest(:clusters::uuid[])));

-- name: unclosed
-- For the sweep: accounts that are to be closed, and nobody is about to.
select k.user_id, k.hopsworks_cluster_id::text
from hopsworks.accounts_to_close k
join hopsworks.hopsworks_clusters c on c.id = k.hopsworks_cluster_id
where k.closed_at is null and k.asked_at < public.fleet_now() - interval '10 seconds' and c.status <> 'inactive'
  and not exists (
    select from pgmq.q_cluster_assignments q
    where q.message ->> 'action' = 'close_account' and q.message ->> 'user_id' = k.user_id
      and q.message ->> 'cluster_id' = k.hopsworks_cluster_id::text)
order by k.asked_at
limit :most;

-- name: split
-- For the sweep: members on another cluster than their owner, whom nobody is about to look at.
select s.user_id
from hopsworks.split_members s
where not exists (
  select from pgmq.q_cluster_assignments q
  where q.message ->> 'action' = 'follow' and q.message ->> 'user_id' = s.user_id)
order by s.user_id
limit :most;

-- name: drains
-- The numbers of the messages that drain these clusters.
select q.message ->> 'cluster_id', q.msg_id
from pgmq.q_cluster_assignments q
where q.message ->> 'action' in ('drain', 'drain_page') and q.message ->> 'cluster_id' = any(:clusters::text[]);

-- name: admit_is_due
-- Whether somebody is about to look at the line, who has not begun.
select exists (
  select from pgmq.q_cluster_assignments q
  where q.message ->> 'action' = 'admit' and q.vt <= public.fleet_now());
