-- 012: what the tables of four document sets share in one database: their PostgreSQL schemas, the search_path that
-- lets each one's queries run as printed.
--
-- public holds what GPU servers need and what is shared; hopsworks the users and their clusters; autoscaler the nodes
-- that report in and their pools; clusters the clusters of nodes. Two of them have a table `users`, which is why.

create schema if not exists hopsworks;
create schema if not exists autoscaler;
create schema if not exists clusters;

comment on schema hopsworks is 'users, their Hopsworks clusters and what they owe';
comment on schema autoscaler is 'nodes that report in, their pools and measurements';
comment on schema clusters is 'clusters of nodes: health, leaders, events';

-- For new sessions of this database. Times without a zone (the autoscaler's) are UTC, so sessions are, too.
do $$
begin
  execute format('alter database %I set search_path = public, hopsworks, autoscaler, clusters', current_database());
  execute format('alter database %I set timezone = %L', current_database(), 'UTC');
exception when insufficient_privilege then
  raise warning 'the search_path of database % was not set: % does not own it', current_database(), current_user
    using hint = 'Its owner runs: alter database ... set search_path = public, hopsworks, autoscaler, clusters';
end
$$;
