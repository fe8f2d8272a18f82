-- 130: the queue and the machine of assignments, and what happens where a row leaves a cluster.

select public.create_fleet_queue('cluster_assignments', array[
  'assign', 'release', 'suspend', 'reactivate', 'drain']);
select public.guard_machine('hopsworks.user_hopsworks_assignments', 'assignment', 'id');

-- Looks at the line that nobody has taken up yet: one is enough.
create index if not exists q_cluster_assignments_admit_idx on pgmq.q_cluster_assignments (msg_id)
  where message ->> 'action' = 'admit';

create or replace trigger note_status_since before update on hopsworks.user_hopsworks_assignments
  for each row when (old.status is distinct from new.status) execute function public.note_status_since();

-- The rows stay (189).
drop trigger if exists keep_assignment on hopsworks.user_hopsworks_assignments;

-- Asks for an account to be closed; for the first time, or once more. Which account that is, is in its row and not in
-- the message: who could send one could close anybody's. Called by leave_cluster.
create or replace function hopsworks.ask_to_close(of_user text, on_cluster uuid, account bigint, username text)
returns void
language plpgsql
as $$
begin
  insert into hopsworks.accounts_to_close as known
    (user_id, hopsworks_cluster_id, hopsworks_user_id, hopsworks_username, may_be_unknown)
  values (of_user, on_cluster, account, case when account is not null then username end, account is null)
  on conflict (user_id, hopsworks_cluster_id) do update
  set asked_at = public.fleet_now(), closed_at = null,
    hopsworks_user_id = coalesce(excluded.hopsworks_user_id, known.hopsworks_user_id),
    hopsworks_username = case when account is not null then excluded.hopsworks_username
      else known.hopsworks_username end,
    may_be_unknown = excluded.may_be_unknown;
  perform pgmq.send('cluster_assignments', jsonb_build_object(
    'action', 'close_account', 'user_id', of_user, 'cluster_id', on_cluster));
end
$$;

revoke execute on function hopsworks.ask_to_close(text, uuid, bigint, text) from public;

-- Whoever leaves a cluster has no seat there any more, and an account that is to be closed, whoever writes it. Runs
-- with its owner's rights, so that who may move a row need not be allowed to send messages. A trigger of
-- hopsworks.user_hopsworks_assignments.
create or replace function hopsworks.leave_cluster() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.status in ('released', 'failed') then
    new.hopsworks_cluster_id := null;
    new.holds_seat := false;
  elsif old.status = 'active' and new.hopsworks_cluster_id is distinct from old.hopsworks_cluster_id then
    raise exception 'user % is active on a cluster, and can''t be written onto another', old.user_id
      using errcode = 'PF006', hint = 'pgfleet users release ..., then assign; or pgfleet hopsworks drain ... --move';
  end if;
  if new.hopsworks_cluster_id is not distinct from old.hopsworks_cluster_id then
    return new;
  end if;
  new.left_cluster_id := old.hopsworks_cluster_id;
  new.hopsworks_user_id := null;
  new.account_enabled := null;
  new.max_projects := null;
  perform hopsworks.ask_to_close(
    old.user_id, old.hopsworks_cluster_id, old.hopsworks_user_id, old.hopsworks_username);
  return new;
end
$$;

revoke execute on function hopsworks.leave_cluster() from public;
create or replace trigger leave_cluster before update on hopsworks.user_hopsworks_assignments
  for each row when (
    old.status is distinct from new.status and new.status in ('released', 'failed')
    or old.hopsworks_cluster_id is not null and new.hopsworks_cluster_id is distinct from old.hopsworks_cluster_id)
  execute function hopsworks.leave_cluster();

-- Who is released to move takes the seat there at once; if there is none any more, nothing has happened (PF409). A
-- trigger of hopsworks.user_hopsworks_assignments, named to come after log_moves, so that the history has both moves
-- in order.
create or replace function hopsworks.move_on() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from new_rows where status = 'released' and moves_to_cluster_id is not null) then
    update hopsworks.user_hopsworks_assignments a
    set status = 'pending', status_reason = 'moves to ' || c.name, hopsworks_cluster_id = c.id, holds_seat = true,
      moves_to_cluster_id = null, released_at = null, hopsworks_username = null, detail = 'Moves to ' || c.name
    from new_rows n join hopsworks.hopsworks_clusters c on c.id = n.moves_to_cluster_id
    where a.id = n.id and a.status = 'released';
  end if;
  return null;
end
$$;

revoke execute on function hopsworks.move_on() from public;

create or replace trigger move_on after update on hopsworks.user_hopsworks_assignments
  referencing new table as new_rows for each statement execute function hopsworks.move_on();

-- Writes the username that was read back from the server into users.hopsworks_username. A trigger of
-- hopsworks.user_hopsworks_assignments.
create or replace function hopsworks.sync_username() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update hopsworks.users u
  set hopsworks_username = new.hopsworks_username
  where u.id = new.user_id and u.hopsworks_username is distinct from new.hopsworks_username;
  return null;
end
$$;

revoke execute on function hopsworks.sync_username() from public;

create or replace trigger sync_username after insert or update on hopsworks.user_hopsworks_assignments
  for each row when (new.status = 'active') execute function hopsworks.sync_username();

-- What the worker of this kind reads and writes, and who sends to it (163).
create or replace view public.rights_of_assignment (who, thing, may) as values
  ('worker', 'pgmq.q_cluster_assignments', 'work'),
  ('sender', 'pgmq.q_cluster_assignments', 'send'),
  ('api', 'pgmq.q_cluster_assignments', 'send'),
  ('worker', 'hopsworks.users', 'select, insert, update'),
  ('worker', 'hopsworks.hopsworks_clusters', 'select, update'),
  ('worker', 'hopsworks.user_hopsworks_assignments', 'select, insert, update'),
  ('worker', 'hopsworks.accounts_to_close', 'select, insert, update'),
  ('worker', 'hopsworks.health_check_failures', 'select, insert, update'),
  ('worker', 'hopsworks.billing_rates', 'select'),
  ('worker', 'hopsworks.billing_history', 'select, insert, update'),
  ('worker', 'hopsworks.billed_days', 'select, insert, update'),
  ('worker', 'hopsworks.usage_daily', 'select, insert, update'),
  ('worker', 'hopsworks.usage_hours', 'select'),
  ('worker', 'hopsworks.usage_samples', 'select, insert, update'),
  ('worker', 'hopsworks.user_credits', 'select, insert, update'),
  ('worker', 'hopsworks.unanswered_clusters', 'select'),
  ('worker', 'hopsworks.split_members', 'select'),
  ('worker', 'public.forgotten_assignment', 'select'),
  ('worker', 'public.reservations', 'select (reservation_id, user_id, status, status_since, created_at, gpu_type, gpu_count)'),
  ('worker', 'public.disks', 'select (disk_id, user_id, size_gb, status, status_since)'),
  ('worker', 'public.status_history', 'select'),
  ('worker', 'public.gpu_types', 'select'),
  ('worker', 'function public.users_of_reservations(text[])', 'execute'),
  ('worker', 'function public.names_in_reservations(text[])', 'execute');

-- failed -> pending: gives an assignment that failed with its ticket another life (159), at the end of the line; what was sent
-- before is late. What was done; null where the letter is no ticket, or its row did not fail. Called by answer_letter.
create or replace function public.revive_cluster_assignments(letter public.dead_letters) returns text
language plpgsql
as $$
declare
  its record;
begin
  if letter.message ->> 'action' is distinct from 'advance' then
    return null;
  end if;
  update hopsworks.user_hopsworks_assignments a set
    status = 'pending', status_reason = public.replay_reason(letter), detail = 'Waiting for a seat', ticket = a.ticket + 1,
    asked_at = public.fleet_now(), failed_at = null, released_at = null, hopsworks_username = null, status_msg_id = null
  where a.user_id = letter.message ->> 'user_id' and a.status = 'failed'
  returning a.user_id, a.ticket into its;
  if not found then
    return null;
  end if;
  perform pgmq.send('cluster_assignments', '{"action": "admit"}'),
    pgmq.send('cluster_assignments', jsonb_build_object(
      'action', 'advance', 'user_id', its.user_id, 'ticket', its.ticket));
  return format('the assignment of %s is pending again', its.user_id);
end
$$;
