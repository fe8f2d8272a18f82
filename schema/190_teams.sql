-- 190: teams that are split: a member is on another cluster than the owner of the account. It happens where one of them moves
-- and the other can't, is assigned elsewhere, or joins a team later. The worker's sweep has members follow their owner.

-- Members that are to follow their owner. Read by the worker's sweep and the doctor.
create or replace view hopsworks.split_members as
select m.user_id, m.hopsworks_cluster_id as cluster_id, o.user_id as owner_id, o.hopsworks_cluster_id as owner_cluster_id,
  m.detail
from hopsworks.user_hopsworks_assignments m
join hopsworks.users u on u.id = m.user_id
join hopsworks.user_hopsworks_assignments o on o.user_id = u.account_owner_id
where m.status in ('creating_user', 'active') and o.status in ('creating_user', 'active')
  and m.hopsworks_cluster_id <> o.hopsworks_cluster_id and not m.apart_from_owner;
