-- 110: the queue and the machine of reservations.

select public.create_fleet_queue('gpu_reservations', array[
  'create_reservation', 'cancel', 'cancellation', 'extend', 'extend_reservation', 'enable_jupyter', 'disable_jupyter',
  'add_user', 'retry']);
select public.guard_machine('public.reservations', 'reservation', 'reservation_id');

-- Keeps what the row itself says about its last move: since when, and seed 003's status_history (the last 100
-- entries; all of them are in public.status_history). A trigger of public.reservations.
create or replace function public.note_reservation_move() returns trigger
language plpgsql
as $$
begin
  new.status_since := public.fleet_now();
  new.status_history := jsonb_path_query_array(coalesce(new.status_history, '[]'), '$[last - 98 to last]')
    || jsonb_build_object(
      'timestamp', public.fleet_now(),
      'from', case when tg_op = 'UPDATE' then old.status else '(new)' end,
      'status', new.status,
      'reason', public.move_reason(new.status_reason));
  return new;
end
$$;

create or replace trigger note_move before update on public.reservations
  for each row when (old.status is distinct from new.status)
  execute function public.note_reservation_move();
create or replace trigger note_new before insert on public.reservations
  for each row execute function public.note_reservation_move();

-- What the worker of this kind reads and writes, and who sends to it (163).
create or replace view public.rights_of_reservation (who, thing, may) as values
  ('worker', 'pgmq.q_gpu_reservations', 'work'),
  ('user', 'pgmq.q_gpu_reservations', 'send'),
  ('api', 'pgmq.q_gpu_reservations', 'send'),
  ('sender', 'pgmq.q_gpu_reservations', 'send'),
  ('serve', 'function public.insert_placed_reservation(jsonb, jsonb)', 'execute'),
  ('user', 'function public.jupyter_token_of(text)', 'execute'),
  ('api', 'function public.jupyter_token_of(text)', 'execute'),
  ('user', 'function public.ask_for_logs(text)', 'execute'),
  ('api', 'function public.ask_for_logs(text)', 'execute'),
  ('user', 'function public.take_logs(uuid, integer)', 'execute'),
  ('api', 'function public.take_logs(uuid, integer)', 'execute'),
  ('user', 'function public.close_logs(uuid)', 'execute'),
  ('api', 'function public.close_logs(uuid)', 'execute'),
  ('worker', 'public.pod_events', 'select, insert, update'),
  ('worker', 'public.log_requests', 'select, update'),
  ('worker', 'public.reservations', 'select, insert, update'),
  ('worker', 'public.gpu_types', 'select, update (available_gpus, max_reservable, full_nodes_available, promises_checked_at,
    running_instances, desired_capacity, last_availability_update, last_availability_updated_by)'),
  ('worker', 'public.disks', 'select, insert, update'),
  ('worker', 'public.disk_snapshots', 'select, insert, update'),
  ('worker', 'public.disk_operations', 'select'),
  ('worker', 'public.gpu_nodes', 'select, insert, update'),
  ('worker', 'public.gpu_pods', 'select, insert, update'),
  ('worker', 'public.gpu_looks', 'select, update'),
  ('worker', 'public.pod_quarantine', 'select, insert, update'),
  ('worker', 'public.domain_mappings', 'select, delete'),
  ('worker', 'public.alb_target_groups', 'select, delete'),
  ('worker', 'public.node_cordons', 'select'),
  ('worker', 'public.booked_units', 'select'),
  ('worker', 'public.gpu_ends', 'select'),
  ('worker', 'public.line_paces', 'select'),
  ('worker', 'public.line_settings', 'select'),
  ('worker', 'function public.fronts_of_lines(text[], integer)', 'execute'),
  ('worker', 'public.waiting_reservations', 'select'),
  ('worker', 'public.stuck_reservations', 'select'),
  ('worker', 'public.gpu_rooms', 'select'),
  ('worker', 'public.gpu_node_room', 'select'),
  ('worker', 'public.cordoned_nodes', 'select'),
  ('worker', 'public.forgotten_reservation', 'select'),
  ('worker', 'function public.github_user_of(text)', 'execute'),
  ('worker', 'function public.limits_of(text[])', 'execute'),
  ('worker', 'pgmq.q_disk_operations', 'send');

-- failed -> pending: brings the failed row of a ticket back to the line, with its gang (159). What was done; null where the
-- letter is no ticket, or its row did not fail. Its wait begins anew, at the end of the line. Called by answer_letter.
create or replace function public.revive_gpu_reservations(letter public.dead_letters) returns text
language plpgsql
as $$
declare
  asked constant text := letter.message ->> 'reservation_id';
  its constant text[] := public.with_gangs(array[asked]);
  found_rows record;
begin
  if letter.message ->> 'action' is distinct from 'advance' then
    return null;
  end if;
  perform from public.reservations r where r.reservation_id = any (its) order by r.reservation_id for update;
  select count(*) as rows, bool_and(r.status = 'failed') as all_failed,
    min(r.reservation_id) filter (where r.reservation_ended is null or coalesce(r.gpus_held, 0) <> 0) as busy
  into found_rows from public.reservations r where r.reservation_id = any (its);
  if found_rows.all_failed is not true then
    return null;
  elsif found_rows.busy is not null then
    raise exception 'Reservation % is still being torn down. Try again in a moment.', found_rows.busy
      using errcode = 'PF006';
  end if;
  -- In one statement: the rows of a gang wait since the same moment. What the life before has left in them is forgotten.
  update public.reservations r set
    status = 'pending', status_reason = public.replay_reason(letter), current_detailed_status = 'Waiting for its turn',
    ticket = r.ticket + 1, waiting_since = public.fleet_now(), schedule_failures = 0, warnings_sent = '{}', gpus_use = '[]',
    reservation_ended = null, failed_at = null, failure_reason = null, launched_at = null, expires_at = null,
    pod_name = null, node_ip = null, node_private_ip = null, node_port = null, ssh_command = null, ebs_volume_id = null,
    ebs_availability_zone = null, placement = null, held_by = null, held_since = null, stuck_told_at = null,
    forced_at = null, forced_by = null, retry_at = null, pod_missing_since = null, warning = null,
    last_warning_time = null, status_msg_id = null, gpus_read_at = null, idle_since = null, idle_warned_at = null
  where r.reservation_id = any (its);
  perform pgmq.send('gpu_reservations', jsonb_build_object('action', 'admit', 'gpu_type', r.gpu_type))
  from public.reservations r where r.reservation_id = any (its) order by r.reservation_id limit 1;
  perform pgmq.send('gpu_reservations', jsonb_build_object(
    'action', 'advance', 'reservation_id', r.reservation_id, 'ticket', r.ticket))
  from public.reservations r where r.reservation_id = any (its) order by r.reservation_id;
  return format('reservation %s is pending again', asked)
    || case when found_rows.rows > 1 then format(', with the other %s of its gang', found_rows.rows - 1) else '' end;
end
$$;
