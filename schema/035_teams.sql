-- 035: a team is on one cluster, its owner's; who may be elsewhere.

alter table hopsworks.user_hopsworks_assignments
  -- Elsewhere than the owner for good: the owner's cluster was full, and a setting let the member go elsewhere.
  add column if not exists apart_from_owner boolean not null default false;
