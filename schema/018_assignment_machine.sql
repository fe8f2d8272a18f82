-- 018: the assignment's machine: its moves, and what the worker needs to remember; the triggers are in 130 and 131.
--
--   pending --> creating_user --> active --> released --> pending      pending, creating_user --> failed
--
-- A row with holds_seat has a seat on its cluster: hopsworks_clusters.current_users counts them, in the statement that
-- takes or returns one.

alter table hopsworks.user_hopsworks_assignments
  add column if not exists status text not null default 'pending',
  add column if not exists status_reason text,
  add column if not exists status_msg_id bigint,
  add column if not exists status_since timestamptz not null default public.fleet_now(),
  add column if not exists ticket integer not null default 0,
  add column if not exists holds_seat boolean not null default false,
  -- The numeric id on the Hopsworks server.
  add column if not exists hopsworks_user_id bigint,
  -- Suspended people keep their seat.
  add column if not exists suspended_at timestamptz,
  add column if not exists released_at timestamptz,
  add column if not exists failed_at timestamptz;

alter table hopsworks.user_hopsworks_assignments
  drop constraint if exists user_hopsworks_assignments_status_check,
  drop constraint if exists user_hopsworks_assignments_seat_check,
  drop constraint if exists user_hopsworks_assignments_active_check;
alter table hopsworks.user_hopsworks_assignments
  add constraint user_hopsworks_assignments_status_check check (
    (status in ('pending', 'creating_user', 'active', 'released', 'failed')) is not false
      or public.refuse_value('an assignment''s status', status,
        'one of pending, creating_user, active, released, failed')),
  add constraint user_hopsworks_assignments_seat_check check (
    (not holds_seat or (hopsworks_cluster_id is not null and status not in ('released', 'failed'))) is not false
      or public.refuse_value('holds_seat', 'true', 'false without a cluster, and once released or failed')),
  add constraint user_hopsworks_assignments_active_check check (
    (status <> 'active' or (hopsworks_username is not null and hopsworks_cluster_id is not null)) is not false
      or public.refuse_value('an active assignment''s username', hopsworks_username,
        'the one read back from its cluster'));

-- Live ones, for the sweep.
create index if not exists user_hopsworks_assignments_live_idx
  on hopsworks.user_hopsworks_assignments (status, status_since) where status in ('pending', 'creating_user');
create index if not exists user_hopsworks_assignments_seats_idx
  on hopsworks.user_hopsworks_assignments (hopsworks_cluster_id) where holds_seat;

insert into public.moves (machine, from_status, to_status, happens_when) values
  ('assignment', '(new)', 'pending', 'the message is valid and its user is known'),
  ('assignment', 'pending', 'creating_user', 'a seat was taken'),
  ('assignment', 'creating_user', 'active', 'the Hopsworks username was read back'),
  ('assignment', 'active', 'released', 'release: the seat is given back'),
  ('assignment', 'released', 'pending', 'assigned again'),
  ('assignment', 'pending', 'failed', 'no owner, or we could not go on; the reason says why'),
  ('assignment', 'creating_user', 'failed', 'the server refused; the seat is given back'),
  ('assignment', 'failed', 'pending', 'an operator replays its dead letter, or it is asked for again')
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;
