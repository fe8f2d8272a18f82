-- 130: the queue and the machine of assignments, and what happens where a row leaves a cluster.

select public.create_fleet_queue('cluster_assignments');
select public.guard_machine('hopsworks.user_hopsworks_assignments', 'assignment', 'id');

-- Looks at the line that nobody has taken up yet: one is enough.
create index if not exists q_cluster_assignments_admit_idx on pgmq.q_cluster_assignments (msg_id)
  where message ->> 'action' = 'admit';

create or replace trigger note_status_since before update on hopsworks.user_hopsworks_assignments
  for each row when (old.status is distinct from new.status) execute function public.note_status_since();

-- Refuses to delete an assignment: it is the audit trail. A trigger of hopsworks.user_hopsworks_assignments.
create or replace function hopsworks.keep_assignment() returns trigger
language plpgsql
as $$
begin
  raise exception 'the assignment of user % has to stay', old.user_id
    using errcode = 'PF006', hint = 'Send a release; its row is the audit trail.';
end
$$;

create or replace trigger keep_assignment before delete on hopsworks.user_hopsworks_assignments
  for each row execute function hopsworks.keep_assignment();

-- Asks for an account to be closed; for the first time, or once more. Called by leave_cluster.
create or replace function hopsworks.ask_to_close(of_user text, on_cluster uuid, account bigint) returns void
language plpgsql
as $$
begin
  insert into hopsworks.accounts_to_close as known (user_id, hopsworks_cluster_id, hopsworks_user_id)
  values (of_user, on_cluster, account)
  on conflict (user_id, hopsworks_cluster_id) do update
  set asked_at = public.fleet_now(), closed_at = null,
    hopsworks_user_id = coalesce(excluded.hopsworks_user_id, known.hopsworks_user_id);
  perform pgmq.send('cluster_assignments', jsonb_build_object(
    'action', 'close_account', 'user_id', of_user, 'cluster_id', on_cluster, 'account_id', account));
end
$$;

revoke execute on function hopsworks.ask_to_close(text, uuid, bigint) from public;

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
  perform hopsworks.ask_to_close(old.user_id, old.hopsworks_cluster_id, old.hopsworks_user_id);
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
language plpgsql
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

create or replace trigger move_on after update on hopsworks.user_hopsworks_assignments
  referencing new table as new_rows for each statement execute function hopsworks.move_on();

-- Writes the username that was read back from the server into users.hopsworks_username. A trigger of
-- hopsworks.user_hopsworks_assignments.
create or replace function hopsworks.sync_username() returns trigger
language plpgsql
as $$
begin
  update hopsworks.users u
  set hopsworks_username = new.hopsworks_username
  where u.id = new.user_id and u.hopsworks_username is distinct from new.hopsworks_username;
  return null;
end
$$;

create or replace trigger sync_username after insert or update on hopsworks.user_hopsworks_assignments
  for each row when (new.status = 'active') execute function hopsworks.sync_username();
