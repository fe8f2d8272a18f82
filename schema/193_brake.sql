-- 193: pauses (038) as workers ask for them, how a restored database is known for one, and whose name is on what it made.

-- Whether nothing of this queue is to be claimed. Called by every claim, and by whoever sends periodic work.
create or replace function public.is_paused(queue text) returns boolean
language sql stable parallel safe
as $$ select exists (select from public.pauses p where p.what = queue) $$;

-- Which database this is: the server's identity, the number of the database in it, and the timeline, which a promotion
-- and a restore to a point in time begin anew. No row where the server does not let us know.
create or replace function public.this_database()
returns table (system_identifier bigint, database_oid bigint, timeline text)
language plpgsql stable
as $$
begin
  return query
    select s.system_identifier, d.oid::bigint, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
    from pg_control_system() s, pg_database d where d.datname = current_database();
exception
  when insufficient_privilege or undefined_function or feature_not_supported or object_not_in_prerequisite_state then
    return;
end
$$;

-- Since when and why nothing outside may be deleted; no row where it may. A database that is not the one that workers
-- saw last deletes nothing before note_database has judged it. Read by workers before they step.
create or replace view public.deletes_pause as
select p.by_whom, p.since, p.reason from public.pauses p where p.what = 'deletes'
union all
select 'pgfleet', public.fleet_now(), 'this is not the database that workers saw last'
where exists (select from public.database_identity)
  and exists (
    select t.system_identifier, t.database_oid, t.timeline from public.this_database() t
    except
    select i.system_identifier, i.database_oid, i.timeline from public.database_identity i)
  and not exists (select from public.pauses p where p.what = 'deletes');

-- Notes which database this is, and when. Where it is another one than before, what is outside may be newer than what it
-- knows: deletions are paused until a person has looked. A standby that was promoted is not another one, unless nobody
-- has seen the database for five minutes: so a restore to a point in time looks. True where that was begun now. With its
-- owner's rights, as workers pause nothing else. Called by workers every few seconds.
create or replace function public.note_database() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  here record;
  known public.database_identity;
  why text;
begin
  select * into here from public.this_database();
  select * into known from public.database_identity;
  if here is null then
    return false;
  elsif known is null then
    insert into public.database_identity (system_identifier, database_oid, timeline)
    values (here.system_identifier, here.database_oid, here.timeline) on conflict do nothing;
    return false;
  elsif (known.system_identifier, known.database_oid, known.timeline)
    is not distinct from (here.system_identifier, here.database_oid, here.timeline)
    and known.seen_at > public.fleet_now() - interval '1 minute'
  then
    return false;
  end if;
  perform public.note_timeline();
  -- Another worker may just have done so.
  select * into known from public.database_identity for update;
  why := case
    when (known.system_identifier, known.database_oid)
      is distinct from (here.system_identifier, here.database_oid) then 'restored, copied or moved'
    when known.timeline is distinct from here.timeline and known.seen_at < public.fleet_now() - interval '5 minutes'
      then 'restored or promoted'
  end;
  insert into public.pauses (what, by_whom, reason)
  select 'deletes', 'pgfleet', format('the database was %s; before, workers saw it last at %s', why,
    to_char(known.seen_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
  where why is not null
  on conflict (what) do nothing;
  update public.database_identity set system_identifier = here.system_identifier, database_oid = here.database_oid,
    timeline = here.timeline, seen_at = public.fleet_now();
  return why is not null;
end
$$;

revoke execute on function public.note_database() from public;

-- Whether something of this database is outside: a pod, a volume, a snapshot, or one that is being made. Called by
-- keep_fleet_name.
create or replace function public.is_outside() returns boolean
language sql stable
as $$
  select exists (
      select from public.reservations r
      where r.reservation_ended is null and (r.status not in ('pending', 'queued') or r.gpus_held > 0))
    or exists (select from public.disks d where d.ebs_volume_id is not null or d.status = 'attached')
    or exists (select from public.disk_snapshots s where s.status not in ('failed', 'deleted'))
$$;

-- Refuses another name (PF006) while something is outside: it would be missing where the fleet looks for its own, and
-- another fleet of its name would find it. Nobody has brought a name yet: what is outside has none. A trigger of
-- public.fleet_name.
create or replace function public.keep_fleet_name() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  before constant text := case when tg_op = 'INSERT' then '' else old.name end;
  later constant text := case when tg_op = 'DELETE' then '' else new.name end;
begin
  if later <> before and public.is_outside() then
    raise exception 'pods, volumes or snapshots are outside that % made',
        case before when '' then 'this fleet without a name' else 'the fleet ' || before end
      using errcode = 'PF006', hint = format('Its name stays %s until all of them are gone.',
        case before when '' then 'empty' else before end);
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;
revoke execute on function public.keep_fleet_name() from public;

create or replace trigger keep_name before insert or update or delete on public.fleet_name
  for each row execute function public.keep_fleet_name();

-- The name of this fleet: the one that is known, or `mine`, from now on. Raises PF006 where that can't be. Called by a
-- worker at its start, with the name in its settings; one that has another does not work.
create or replace function public.note_fleet(mine text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from public.fleet_name) then
    insert into public.fleet_name (name) values (mine) on conflict do nothing;
  end if;
  return (select f.name from public.fleet_name f);
end
$$;
revoke execute on function public.note_fleet(text) from public;

-- Pauses a queue, or 'deletes'; whether it was not paused yet. `who` is believed of whoever speaks for nobody. Called by
-- `pgfleet pause` and the API.
create or replace function public.begin_pause(of_what text, who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as('{DEVOPS,ADMIN}');
  if of_what <> 'deletes' and not exists (select from public.fleet_queues q where q.queue_name = of_what) then
    perform public.refuse_value('what is paused', left(of_what, 60), 'a queue of a kind, or deletes');
  end if;
  insert into public.pauses (what, by_whom, reason) values (of_what, coalesce(public.served(), who), why)
  on conflict (what) do nothing;
  return found;
end
$$;
revoke execute on function public.begin_pause(text, text, text) from public;

-- Lets a queue go on, or 'deletes'; whether it was paused. Called by `pgfleet resume` and the API.
create or replace function public.end_pause(of_what text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as('{DEVOPS,ADMIN}');
  delete from public.pauses p where p.what = of_what;
  return found;
end
$$;
revoke execute on function public.end_pause(text) from public;

-- Wakes the workers of a queue that goes on. A trigger of public.pauses.
create or replace function public.ring_resumed() returns trigger
language plpgsql
as $$
begin
  perform public.notify_workers(old.what);
  return null;
end
$$;

create or replace trigger ring_resumed after delete on public.pauses
  for each row execute function public.ring_resumed();

-- Says of nodes that were cordoned, or are no longer, how much room there is now, and again when a cordon is over; those
-- who are on them are told. A trigger of public.node_cordons.
create or replace function public.tell_cordon() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  changed constant public.node_cordons := case when tg_op = 'DELETE' then old else new end;
  moments constant timestamptz[] := case
    when tg_op = 'DELETE' then array[public.fleet_now()] else array[public.fleet_now(), changed.until] end;
begin
  perform public.note_availability(null, array(
    select n.gpu_type from public.gpu_nodes n where n.node_name = changed.node_name));
  perform pgmq.send('gpu_reservations', told.body, moment)
  from unnest(moments) moment, lateral (
    select jsonb_build_object('action', 'admit', 'gpu_type', n.gpu_type) as body
    from public.gpu_nodes n where n.node_name = changed.node_name
    union all
    select jsonb_build_object('action', 'advance', 'reservation_id', p.reservation_id, 'ticket', -1)
    from public.gpu_pods p join public.reservations r using (reservation_id)
    where p.node_name = changed.node_name and p.gone_at is null and r.reservation_ended is null) told;
  return null;
end
$$;

revoke execute on function public.tell_cordon() from public;

create or replace trigger tell_cordon after insert or update or delete on public.node_cordons
  for each row execute function public.tell_cordon();

select autoscaler.audit('public.fleet_name', 'insert or update or delete', 'fleet_name', 'SYSTEM', 'name');
select autoscaler.audit('public.pauses', 'insert or update or delete', 'pause', 'SYSTEM', 'what');
select autoscaler.audit('public.node_cordons', 'insert or update or delete', 'node_cordon', 'NODE', 'node_name');
