-- 018: the assignment's machine: its moves, what the worker needs to remember, and the counting of seats.
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

select public.guard_machine('hopsworks.user_hopsworks_assignments', 'assignment', 'id');

drop trigger if exists note_status_since on hopsworks.user_hopsworks_assignments;
create trigger note_status_since before update on hopsworks.user_hopsworks_assignments
  for each row when (old.status is distinct from new.status) execute function public.note_status_since();

-- Adds what a statement changed in holds_seat to current_users, cluster by cluster in key order; guard_seats (013)
-- refuses what does not fit.
create or replace function hopsworks.count_seats() returns trigger
language plpgsql
as $$
declare
  changes text;
  change record;
begin
  changes := case tg_op
    when 'INSERT' then 'select hopsworks_cluster_id, 1 as seats from new_rows where holds_seat'
    else 'select hopsworks_cluster_id, 1 as seats from new_rows where holds_seat
          union all select hopsworks_cluster_id, -1 from old_rows where holds_seat'
  end;
  for change in execute
    'select hopsworks_cluster_id, sum(seats) as seats from (' || changes || ') c
     group by hopsworks_cluster_id having sum(seats) <> 0 order by hopsworks_cluster_id'
  loop
    update hopsworks.hopsworks_clusters
    set current_users = greatest(current_users + change.seats, 0)
    where id = change.hopsworks_cluster_id;
  end loop;
  return null;
end
$$;

drop trigger if exists count_seats_new on hopsworks.user_hopsworks_assignments;
create trigger count_seats_new after insert on hopsworks.user_hopsworks_assignments
  referencing new table as new_rows for each statement execute function hopsworks.count_seats();
drop trigger if exists count_seats_changed on hopsworks.user_hopsworks_assignments;
create trigger count_seats_changed after update on hopsworks.user_hopsworks_assignments
  referencing old table as old_rows new table as new_rows
  for each statement execute function hopsworks.count_seats();

-- The audit trail stays.
create or replace function hopsworks.keep_assignment() returns trigger
language plpgsql
as $$
begin
  raise exception 'the assignment of user % has to stay', old.user_id
    using errcode = 'PF006', hint = 'Send a release; its row is the audit trail.';
end
$$;

drop trigger if exists keep_assignment on hopsworks.user_hopsworks_assignments;
create trigger keep_assignment before delete on hopsworks.user_hopsworks_assignments
  for each row execute function hopsworks.keep_assignment();
