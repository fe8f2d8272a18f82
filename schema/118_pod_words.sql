-- 118: events about pods, and reading along what they write (049).
--
--   ask_for_logs -> a row of log_requests -> serve_logs to a worker -> chunk -> take_logs -> the next chunk -> ...
--     -> ended: the reader says so (close_logs), nobody reads for a minute, or the pod is gone

-- Writes down events about pods as they were seen. A count that goes on is written when it has doubled, or once a
-- minute: each worker sees each event. Called by a worker's watch.
create or replace function public.see_pod_events(events jsonb) returns void
language sql
as $$
  insert into public.pod_events as known
    (event_uid, pod_name, pod_uid, reservation_id, is_warning, reason, message, count)
  select e.event_uid, e.pod_name, e.pod_uid,
    coalesce(e.reservation_id, (select p.reservation_id from public.gpu_pods p where p.pod_uid = e.pod_uid)),
    e.is_warning, e.reason, e.message, e.count
  from jsonb_to_recordset(events) e (event_uid text, pod_name text, pod_uid text, reservation_id text,
    is_warning boolean, reason text, message text, count integer)
  order by e.event_uid
  on conflict (event_uid) do update set
    count = excluded.count, message = excluded.message, counted_at = public.fleet_now(),
    reservation_id = coalesce(known.reservation_id, excluded.reservation_id)
  where excluded.count >= 2 * known.count
    or (excluded.count > known.count and known.counted_at < public.fleet_now() - interval '1 minute')
    or (known.reservation_id is null and excluded.reservation_id is not null)
$$;

-- Has a worker serve what a reservation's pod writes to who asks, and returns by which id that is taken. Refused of
-- another's reservation (may_act_for), and of more than ten at once. Called by the command line and the API.
create or replace function public.ask_for_logs(of_reservation text) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  who constant text := public.request_user();
  owner_name constant text := (
    select r.user_id from public.reservations r where r.reservation_id = of_reservation);
  made uuid;
begin
  if owner_name is null or not public.may_act_for(owner_name) then
    raise exception 'reservation % is not there, or not yours', left(of_reservation, 60)
      using errcode = 'insufficient_privilege';
  end if;
  delete from public.log_requests l where l.asked_by = who and l.ended is not null;
  if (select count(*) from public.log_requests l
      where l.asked_by = who and l.ended is null and l.read_at > public.fleet_now() - interval '60 seconds') >= 10
  then
    raise exception '% reads the logs of ten pods already', who
      using errcode = 'PF007', hint = 'One that nobody reads ends after a minute.';
  end if;
  insert into public.log_requests (reservation_id, asked_by) values (of_reservation, who) returning request_id into made;
  perform pgmq.send('gpu_reservations', jsonb_build_object('action', 'serve_logs', 'request_id', made));
  return made;
end
$$;
revoke execute on function public.ask_for_logs(text) from public;

-- What is there beyond the chunks that the reader has: none or one. Says that the reader is there. Called by who asked.
create or replace function public.take_logs(request uuid, has_number integer)
returns table (chunk text, chunk_number integer, has_more boolean, ended text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  -- A row that is written again is stepped again: not with every look.
  update public.log_requests l set taken_number = greatest(l.taken_number, has_number), read_at = public.fleet_now()
  where l.request_id = request and l.asked_by = public.request_user()
    and (l.taken_number < has_number or l.read_at < public.fleet_now() - interval '10 seconds');
  return query
    select case when l.chunk_number > has_number then l.chunk end, l.chunk_number, l.has_more, l.ended
    from public.log_requests l where l.request_id = request and l.asked_by = public.request_user();
end
$$;
revoke execute on function public.take_logs(uuid, integer) from public;

-- The reader goes. Called by who asked.
create or replace function public.close_logs(request uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update public.log_requests l set ended = 'its reader has gone', chunk = null
  where l.request_id = request and l.asked_by = public.request_user() and l.ended is null;
end
$$;
revoke execute on function public.close_logs(uuid) from public;
