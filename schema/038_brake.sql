-- 038: what an operator holds back until it is let go of: a kind of messages, deletions outside, a node.

-- What is paused. Of a queue nothing is claimed, and no periodic work is sent; 'deletes' are all deletions outside: of
-- pods, services, volumes, snapshots. Written by `pgfleet pause` and `resume`, and by note_database (193); read by every
-- claim, and by workers before they delete.
create table if not exists public.pauses (
  what text primary key check (what <> ''),
  by_whom text not null default session_user,
  reason text,
  since timestamptz not null default public.fleet_now()
);

-- Which database this is, as the workers of it last saw it: one row, from the first worker on. One that was restored
-- or copied is another one, and knows nothing of what was made outside since.
create table if not exists public.database_identity (
  only_one boolean primary key default true check (only_one),
  system_identifier bigint not null,
  database_oid bigint not null,
  timeline text not null,
  -- By the minute.
  seen_at timestamptz not null default public.fleet_now()
);

-- Nodes of the cluster of reservations on which an operator lets nobody start, for a while. Written by `pgfleet nodes
-- cordon` and `uncordon`; read wherever room is counted (176), and by whoever makes a pod.
create table if not exists public.node_cordons (
  node_name text primary key check (node_name <> ''),
  until timestamptz not null,
  by_whom text not null default session_user,
  reason text,
  since timestamptz not null default public.fleet_now()
);

insert into public.retention (table_name, time_column, keep, by_day, only_where)
values ('public.node_cordons', 'until', '7 days', false, null)
on conflict (table_name) do nothing;
