-- 013: Hopsworks clusters and which user is on which (documents 000 and 001). The sign-up service writes users;
-- operators write clusters; the assignment worker writes assignments (018 holds their machine). api_key and
-- kubeconfig are secrets: read by the worker only, and by nobody's log.

-- People, by their Auth0 id. A team member's account_owner_id is the owner of the account; an owner has none.
create table if not exists hopsworks.users (
  id text primary key check (
    id <> '' is not false or public.refuse_value('a user''s id', id, 'the Auth0 id')),
  email text unique not null,
  name text,
  created_at timestamptz default now(),
  last_login_at timestamptz,
  login_count integer default 0 check (
    login_count >= 0 is not false or public.refuse_value('login_count', login_count::text, 'at least 0')),
  status text default 'active',
  is_admin boolean default false,
  hopsworks_username text,
  stripe_customer_id text,
  account_owner_id text references hopsworks.users (id) check (
    (account_owner_id is distinct from id) is not false
      or public.refuse_value('account_owner_id', account_owner_id, 'somebody else''s id'))
);

create index if not exists users_account_owner_idx
  on hopsworks.users (account_owner_id) where account_owner_id is not null;
-- An e-mail in other letter case is the same mailbox.
create index if not exists users_email_lower_idx on hopsworks.users (lower(email));
-- As pages of them are turned.
create index if not exists users_turned_idx on hopsworks.users (coalesce(created_at, timestamptz '1970-01-01 00:00:00+00'), id);

-- One row per Hopsworks cluster. current_users is how many seats are taken: counted from the assignments, and by
-- increment_cluster_users and decrement_cluster_users (131).
create table if not exists hopsworks.hopsworks_clusters (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  api_url text not null,
  api_key text not null,
  max_users integer default 100 check (
    max_users >= 0 is not false or public.refuse_value('max_users', max_users::text, 'at least 0')),
  current_users integer default 0 check (
    current_users >= 0 is not false or public.refuse_value('current_users', current_users::text, 'at least 0')),
  status text default 'active' check (
    (status in ('active', 'maintenance', 'full', 'inactive')) is not false
      or public.refuse_value('a Hopsworks cluster''s status', status, 'one of active, maintenance, full, inactive')),
  kubeconfig text,
  metadata jsonb default '{}'::jsonb,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

-- The least loaded cluster with a free seat, first in the index.
create index if not exists hopsworks_clusters_load_idx
  on hopsworks.hopsworks_clusters (current_users, id) where status = 'active';

-- One assignment per user; the cluster is null until a seat was found. Rows stay for the audit trail (130 refuses to
-- delete them).
create table if not exists hopsworks.user_hopsworks_assignments (
  id uuid primary key default gen_random_uuid(),
  user_id text unique not null references hopsworks.users (id),
  hopsworks_cluster_id uuid references hopsworks.hopsworks_clusters (id),
  assigned_at timestamptz default now(),
  assigned_by text check (
    (assigned_by in ('system', 'admin', 'team_member_auto')) is not false
      or public.refuse_value('assigned_by', assigned_by, 'one of system, admin, team_member_auto')),
  hopsworks_username text
);

create index if not exists user_hopsworks_assignments_cluster_idx
  on hopsworks.user_hopsworks_assignments (hopsworks_cluster_id);
create index if not exists user_hopsworks_assignments_assigned_idx
  on hopsworks.user_hopsworks_assignments (assigned_at);

comment on column hopsworks.users.id is 'The user whose row it is';
comment on column hopsworks.user_hopsworks_assignments.user_id is 'The user whose row it is';
