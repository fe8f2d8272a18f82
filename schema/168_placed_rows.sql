-- 168: rows (058) that are inserted with their message, in one transaction: for members of pgfleet_serve.
--
-- place_reservation and place_disk_operation are what is called. The row is inserted with the owner's rights, by
-- insert_placed_*; the message is sent with the caller's, so that the door (105) stamps who asks. The worker of the kind
-- checks the message as any other, and that the row is what it asks for. Then `unchecked_since` is null; what it refuses
-- fails with the message. Should a message be lost, the sweep's ticket fails its row (171, 172).
--
-- Whoever asks for another's needs a role that may (PF013). An id that was used for something else is PF015; the same
-- again changes nothing, and nothing is sent.

-- What makes two messages ask for the same: all that they say but when, and by which version of a program. Called by
-- insert_placed_reservation.
create or replace function public.hash_of_asked(message jsonb) returns text
language sql stable
as $$ select encode(sha256(convert_to((message - '{submitted_at,version}'::text[])::text, 'UTF8')), 'hex') $$;

-- Refuses (PF013) whom the API speaks for as a node, and a user who asks for another. Called by insert_placed_*.
create or replace function public.must_place_for(of_user text) returns void
language plpgsql stable
as $$
begin
  perform public.must_ask_as('{DEVOPS,ADMIN}', case when public.asking_role() is distinct from 'NODE' then of_user end);
end
$$;

-- Inserts the rows that a create_reservation asks for, node by node as `schema/gang/` has them; whether they are new. Called
-- by place_reservation.
create or replace function public.insert_placed_reservation(message jsonb, nodes jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  first_id constant text := message ->> 'reservation_id';
  asked_by constant text := message ->> 'user_id';
  hash constant text := public.hash_of_asked(message);
  now_is constant timestamptz := public.fleet_now();
  known record;
  made integer;
begin
  perform public.must_place_for(asked_by);
  if nodes -> 0 ->> 'reservation_id' is distinct from first_id then
    raise exception 'the first row is not that of the message' using errcode = 'PF004';
  end if;
  -- Twice: another may insert it between the look and the insert, which waits for that other's commit.
  for attempt in 1..2 loop
    select r.user_id, r.asked_hash, r.status, r.gpu_type into known
    from public.reservations r where r.reservation_id = first_id;
    if found then
      -- One that its user has cancelled ahead of its create stays so.
      if known.user_id = asked_by and (known.asked_hash = hash or known.status = 'cancelled' and known.gpu_type is null) then
        return false;
      end if;
      exit;
    end if;
    insert into public.reservations (reservation_id, user_id, status, status_reason, current_detailed_status, created_at,
      waiting_since, unchecked_since, asked_hash, gpu_type, gpu_count, duration_hours, name, github_user, jupyter_enabled,
      disk_name, dockerimage, env_vars, command, preserve_entrypoint, secondary_users, cli_version, start_at, idle_minutes,
      is_multinode, master_reservation_id, node_index, total_nodes)
    select n.reservation_id, asked_by, 'pending', 'asked for', 'Asked for; nobody has looked at it yet', now_is,
      coalesce(n.start_at, now_is), now_is, hash, n.gpu_type, n.gpu_count, n.duration_hours, n.name, n.github_user,
      n.jupyter_enabled, n.disk_name, n.dockerimage, coalesce(n.env_vars, '{}'), n.command, n.preserve_entrypoint,
      coalesce(n.secondary_users, '[]'), n.cli_version, n.start_at, n.idle_minutes, coalesce(n.is_multinode, false),
      n.master_reservation_id, n.node_index, n.total_nodes
    from jsonb_populate_recordset(null::public.reservations, nodes) n
    on conflict (reservation_id) do nothing;
    get diagnostics made = row_count;
    if made = jsonb_array_length(nodes) then
      return true;
    end if;
    exit when made > 0;
  end loop;
  raise exception 'reservation_id: % was used for something else', first_id
    using errcode = 'PF015', hint = 'Choose another id.';
end
$$;
revoke execute on function public.insert_placed_reservation(jsonb, jsonb) from public;

-- Inserts the row of what is asked of a disk; whether it is new. Called by place_disk_operation.
create or replace function public.insert_placed_operation(message jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  asked_id constant uuid := (message ->> 'operation_id')::uuid;
  now_is constant timestamptz := public.fleet_now();
begin
  perform public.must_place_for(message ->> 'user_id');
  insert into public.disk_operations (operation_id, action, user_id, disk_name, body, status_reason, created_at,
    unchecked_since)
  values (asked_id, message ->> 'action', message ->> 'user_id',
    coalesce(message ->> 'target_disk', message ->> 'disk_name'), message, 'asked for', now_is, now_is)
  on conflict (operation_id) do nothing;
  if found then
    return true;
  end if;
  if exists (select from public.disk_operations o where o.operation_id = asked_id and o.body = message) then
    return false;
  end if;
  raise exception 'operation_id: % was used for something else', asked_id
    using errcode = 'PF015', hint = 'Choose another id.';
end
$$;
revoke execute on function public.insert_placed_operation(jsonb) from public;

-- Inserts a reservation, or all rows of a gang, and sends its message; whether it is new. `nodes` are its rows as far as the
-- message says what is in them (schema/gang/nodes.py). Called by the API.
create or replace function public.place_reservation(message jsonb, nodes jsonb, headers jsonb default '{}') returns boolean
language plpgsql
as $$
begin
  if not public.insert_placed_reservation(message, nodes) then
    return false;
  end if;
  perform pgmq.send('gpu_reservations', message, headers);
  return true;
end
$$;

-- Inserts what is asked of a disk, and sends its message; whether it is new. Called by the API.
create or replace function public.place_disk_operation(message jsonb, headers jsonb default '{}') returns boolean
language plpgsql
as $$
begin
  if not public.insert_placed_operation(message) then
    return false;
  end if;
  perform pgmq.send('disk_operations', message, headers);
  return true;
end
$$;

-- What was placed and is now counted: as a worker's new rows are (116). A worker's only: what it counted before may be
-- changed by others meanwhile.
create or replace trigger keep_to_limits_checked after update of unchecked_since on public.reservations
  for each row when (old.unchecked_since is not null and new.unchecked_since is null
    and new.status = 'pending' and public.said('pgfleet.actor') is not null)
  execute function public.keep_to_limits_checked('reservations', 'gpus', 'hours_week');
create or replace trigger keep_to_limits_checked after update of unchecked_since on public.disk_operations
  for each row when (old.unchecked_since is not null and new.unchecked_since is null
    and new.status = 'pending' and public.said('pgfleet.actor') is not null)
  execute function public.keep_to_limits_checked('disk_operations');
