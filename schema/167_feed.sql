-- 167: how the history of moves is read as a feed of events (057).
--
--   events_since     the next moves after a position, with whose row it is and its public columns
--   feed_end         the position of now: all that is committed from now on comes after it
--   note_timeline    to be called on each new session, and now and then: whether the server is the one of before
--   feed_held        what holds the feed back
--   event_of_<machine>  a view of each machine: whose its rows are, and which of their columns everybody may see who may
--                    see the row. A machine without one has events without columns, and they are nobody's

-- Where a move is in that order: at the number of its transaction, or at the newest that has ended when it is written, if
-- that is greater. A transaction may have had its number for long, by another write, before it moves a row that a later one
-- has moved and committed meanwhile: by its own number alone its move would come before the one that it follows.
-- No hole is made by it: the number is never less than the transaction's own. Who reads below the oldest running
-- transaction reads no number of one that still runs, and what is there below it is all that will be there.
-- The order within a row holds: who moves it had its lock, so who moved it before has ended. The snapshot of the trigger's
-- insert is newer than that (a transaction with one snapshot for all could not have moved the row), so what it says is no
-- less than what the one before said; and where both say the same, history_id is in the order of the lock.
-- Nobody waits for long: the number is one that has ended, so the feed is past it as soon as all before it have ended, too.
do $$
begin
  if not exists (
    select from pg_attrdef d
    where d.adrelid = 'public.status_history'::regclass and pg_get_expr(d.adbin, d.adrelid) like '%pg_snapshot_xmax%')
  then
    alter table public.status_history alter column xact_id set default
      greatest(pg_current_xact_id(), (pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1)::text::xid8);
  end if;
end
$$;

-- The sequence of 057 holds two numbers: the timeline (its lower half), and the timeline of the server's WAL at which that
-- began (its upper half; 0 where the server does not let us know). A standby that is promoted begins a new one of its WAL,
-- and from its first move on, before anybody has looked, its moves are of the next timeline of the feed: what was moved
-- before and is there, too, keeps its place, as a transaction that was lost with the primary may have had any number.
do $$
begin
  if exists (
    select from pg_sequence s
    where s.seqrelid = 'public.status_history_timeline_seq'::regclass and s.seqtypid <> 'bigint'::regtype)
  then
    alter sequence public.status_history_timeline_seq as bigint;
  end if;
end
$$;

-- The timeline of a move that is written now. The default of status_history.timeline.
create or replace function public.move_timeline() returns integer
language plpgsql
as $$
declare
  noted constant bigint := coalesce(pg_sequence_last_value('public.status_history_timeline_seq'::regclass), 1);
begin
  return case
    when noted < 4294967296 then noted
    when noted >> 32 = ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
      then noted & 4294967295
    else (noted & 4294967295) + 1
  end;
end
$$;

do $$
begin
  if not exists (
    select from pg_attrdef d
    where d.adrelid = 'public.status_history'::regclass and pg_get_expr(d.adbin, d.adrelid) like '%move_timeline()')
  then
    alter table public.status_history alter column timeline set default public.move_timeline();
  end if;
end
$$;

-- Whether the server was promoted since the timeline began. Called by note_timeline and refuse_position.
create or replace function public.was_promoted() returns boolean
language plpgsql stable
as $$
declare
  noted constant bigint := pg_sequence_last_value('public.status_history_timeline_seq'::regclass);
begin
  return coalesce(noted >= 4294967296
    and noted >> 32 <> (select ('x' || d.timeline)::bit(32)::bigint from public.this_database() d), false);
end
$$;

-- The position of now. Called by whoever begins to read.
create or replace function public.feed_end(out timeline integer, out xact_id xid8)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select (coalesce(pg_sequence_last_value('public.status_history_timeline_seq'::regclass), 1) & 4294967295)::integer,
    pg_snapshot_xmin(pg_current_snapshot())
$$;
revoke execute on function public.feed_end() from public;

-- Raises PF410 for a position after which moves are missing, or that was never handed out here; its DETAIL is the position
-- to begin anew at. Called by events_since.
create or replace function public.refuse_position(after_timeline integer, after_xact xid8, after_id bigint) returns void
language plpgsql stable
as $$
declare
  now_at constant record := public.feed_end();
  kept_after text;
begin
  select format('%s.%s.%s', f.timeline, f.xact_id, f.history_id) into kept_after
  from public.feed_floor f where (f.timeline, f.xact_id, f.history_id) > (after_timeline, after_xact, after_id);
  if found then
    raise exception 'events after %.%.% are not kept any more', after_timeline, after_xact, after_id
      using errcode = 'PF410', detail = kept_after;
  end if;
  if after_timeline > now_at.timeline
    or after_timeline = now_at.timeline and after_xact > pg_snapshot_xmax(pg_current_snapshot())
      and not public.was_promoted()
  then
    raise exception 'nothing here has ever been at %.%.%', after_timeline, after_xact, after_id
      using errcode = 'PF410', detail = coalesce((
        select format('%s.%s.%s', f.timeline, f.xact_id, f.history_id) from public.feed_floor f
        where f.timeline >= now_at.timeline), format('%s.0.0', now_at.timeline));
  end if;
end
$$;

-- The next moves of all machines between two positions, at most so many. It may use nothing but the index of the feed,
-- whatever the planner knows of the table: its plan is kept. Called by events_since.
create or replace function public.feed_page(after_timeline integer, after_xact xid8, after_id bigint,
  end_timeline integer, end_xact xid8, end_id bigint, most integer) returns public.status_history[]
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
begin
  return array(
    select h from public.status_history h
    where h.timeline > 0 and (h.timeline, h.xact_id, h.history_id) > (after_timeline, after_xact, after_id)
      and (h.timeline, h.xact_id, h.history_id) < (end_timeline, end_xact, end_id)
    order by h.timeline, h.xact_id, h.history_id limit most);
end
$$;

-- The same of one row, by the index of its history: there may be millions of other moves between. Called by events_since.
create or replace function public.feed_page_of_row(of_row text, of_machines text[],
  after_timeline integer, after_xact xid8, after_id bigint,
  end_timeline integer, end_xact xid8, end_id bigint, most integer) returns public.status_history[]
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
begin
  return array(
    with of_row as materialized (
      select h as moved from public.status_history h
      where h.row_id = of_row
        and h.machine = any (coalesce(of_machines, array(select distinct m.machine from public.moves m)))
    )
    select moved from of_row
    where ((moved).timeline, (moved).xact_id, (moved).history_id) > (after_timeline, after_xact, after_id)
      and ((moved).timeline, (moved).xact_id, (moved).history_id) < (end_timeline, end_xact, end_id)
    order by (moved).timeline, (moved).xact_id, (moved).history_id limit most);
end
$$;

-- Of rows of a machine: whose each is, and its public columns as they are now. Ids that are none of it are left out: an
-- entry by hand may have any. Called by events_since.
create or replace function public.event_rows(of_machine text, ids text[])
returns table (row_id text, owner text, shown jsonb)
language plpgsql stable
as $$
declare
  seen_in constant regclass := to_regclass(format('public.%I', 'event_of_' || of_machine));
  key_type text;
  sound text[] := ids;
begin
  select format_type(a.atttypid, null) into key_type
  from pg_attribute a where a.attrelid = seen_in and a.attname = 'row_key';
  if key_type is null then
    return;
  end if;
  sound := case key_type
    when 'uuid' then array(select id from unnest(ids) id where id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
    when 'integer' then array(select id from unnest(ids) id where id ~ '^[0-9]{1,9}$')
    when 'bigint' then array(select id from unnest(ids) id where id ~ '^[0-9]{1,18}$')
    else ids end;
  return query execute format(
    'select e.row_key::text, e.owner::text, e.shown from %s e where e.row_key = any ($1::%s[])', seen_in, key_type)
  using sound;
end
$$;

-- The next events after a position, oldest first, out of at most `most` moves: those of some machines, states, of one row
-- or of one user, and none after a last position, where these are given. The last move that was looked at is there in any
-- case, without its machine where nobody asked for it: it is where to read on. No row: that was all. An entry that is no
-- move (062) has its word in the place of a state. Raises PF410.
create or replace function public.events_since(after_timeline integer, after_xact xid8, after_id bigint, most integer,
  of_machines text[] default null, of_states text[] default null, of_row text default null, of_user text default null,
  upto_timeline integer default null, upto_xact xid8 default null, upto_id bigint default null)
returns table (timeline integer, xact_id xid8, history_id bigint, machine text, row_id text, from_status text,
  to_status text, reason text, at timestamptz, owner text, shown jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  ends record := public.feed_end();
  end_id bigint := 0;
  page public.status_history[];
  last_one public.status_history;
begin
  perform public.refuse_position(after_timeline, after_xact, after_id);
  if (upto_timeline, upto_xact, upto_id) < (ends.timeline, ends.xact_id, end_id) then
    select upto_timeline as timeline, upto_xact as xact_id into ends;
    end_id := upto_id + 1;
  end if;
  if of_row is null then
    page := public.feed_page(after_timeline, after_xact, after_id, ends.timeline, ends.xact_id, end_id, most);
  else
    page := public.feed_page_of_row(of_row, of_machines, after_timeline, after_xact, after_id,
      ends.timeline, ends.xact_id, end_id, most);
  end if;
  if page = '{}' then
    return;
  end if;
  last_one := page[array_upper(page, 1)];
  return query
    with moved as materialized (
      select m.*, (of_machines is null or m.machine = any (of_machines))
        and (of_states is null or coalesce(m.notice, m.to_status) = any (of_states)) as is_wanted
      from unnest(page) m
    ), seen as materialized (
      select k.machine, e.*
      from (select m.machine, array_agg(distinct m.row_id) as ids from moved m where m.is_wanted group by m.machine) k
      cross join lateral public.event_rows(k.machine, k.ids) e
    ), events as (
      select m.*, s.owner, s.shown, m.is_wanted and (of_user is null or s.owner is not distinct from of_user) as told
      from moved m left join seen s on s.machine = m.machine and s.row_id = m.row_id
    )
    select e.timeline, e.xact_id, e.history_id, case when e.told then e.machine end, case when e.told then e.row_id end,
      case when e.told then e.from_status end, case when e.told then coalesce(e.notice, e.to_status) end, case when e.told then e.reason end,
      case when e.told then e.at end, case when e.told then e.owner end, case when e.told then e.shown end
    from events e
    where e.told
      or (e.timeline, e.xact_id, e.history_id) = (last_one.timeline, last_one.xact_id, last_one.history_id)
    order by e.timeline, e.xact_id, e.history_id;
end
$$;
revoke execute on function
  public.events_since(integer, xid8, bigint, integer, text[], text[], text, text, integer, xid8, bigint) from public;

-- The number of the last move of a row; null where it has none. Called by whoever waits for the next one.
create or replace function public.last_move(of_machine text, of_row text) returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select max(h.history_id) from public.status_history h where h.machine = of_machine and h.row_id = of_row $$;
revoke execute on function public.last_move(text, text) from public;

-- Which timeline this is. Where the server is another one than before, or counts its transactions anew, the next one
-- begins. Of a standby that was promoted with what was moved since; of any other server with all that was moved since
-- somebody last looked, as nobody can say on which of the two that was: a reader may see a minute twice, and misses
-- nothing. Only then does it wait for those who are moving rows, for a second at most, and else is tried again. Called by
-- readers on each new session and every few seconds, and by note_database (193).
create or replace function public.note_timeline() returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  here record;
  known public.feed_timelines;
  given_out bigint;
  noted bigint;
  is_same boolean;
begin
  select * into here from public.this_database();
  for attempt in 1..2 loop
    given_out := coalesce(pg_sequence_last_value(pg_get_serial_sequence('public.status_history', 'history_id')::regclass), 0);
    insert into public.feed_timelines
      (timeline, system_identifier, database_oid, wal_timeline, seen_history_id, seen_xact_id)
    select (public.feed_end()).timeline, here.system_identifier, here.database_oid, here.timeline, given_out,
      pg_snapshot_xmax(pg_current_snapshot())
    where not exists (select from public.feed_timelines)
    on conflict do nothing;
    select * into known from public.feed_timelines f order by f.timeline desc limit 1;
    noted := coalesce(pg_sequence_last_value('public.status_history_timeline_seq'::regclass), 1);
    -- What is seen was committed by a transaction of before, whose number is less than that of the next one.
    is_same := not coalesce((known.system_identifier, known.database_oid, known.wal_timeline)
        <> (here.system_identifier, here.database_oid, here.timeline), false)
      and (public.feed_end()).timeline = known.timeline
      and not exists (
        select from public.feed_timelines f where f.seen_xact_id > pg_snapshot_xmax(pg_current_snapshot())
          and f.timeline = known.timeline)
      and not exists (
        select from public.status_history h
        where h.timeline > 0 and h.timeline = known.timeline and h.xact_id > pg_snapshot_xmax(pg_current_snapshot()));
    exit when attempt = 2;
    if is_same and (noted < 4294967296) = (here.timeline is null) then
      if known.seen_at < public.fleet_now() - interval '1 minute' then
        update public.feed_timelines f
        set seen_at = public.fleet_now(), seen_history_id = given_out,
          seen_xact_id = pg_snapshot_xmax(pg_current_snapshot())
        where f.timeline = known.timeline;
      end if;
      return known.timeline;
    end if;
    -- Nobody moves a row meanwhile; and another reader may just have begun the new timeline.
    lock table public.status_history in share row exclusive mode;
  end loop;
  if is_same then
    perform public.set_timeline(known.timeline, here.timeline);
    return known.timeline;
  end if;
  return public.begin_timeline(known, here.system_identifier, here.database_oid, here.timeline);
exception
  when lock_not_available or deadlock_detected then
    raise log 'pgfleet: rows are being moved, the new timeline of the feed begins later';
    return known.timeline;
end
$$;
revoke execute on function public.note_timeline() from public;

-- Called by note_timeline, while nobody moves a row.
create or replace function public.begin_timeline(before public.feed_timelines, system_identifier bigint,
  database_oid bigint, wal_timeline text) returns integer
language plpgsql
as $$
declare
  begun constant integer := greatest(before.timeline, (public.feed_end()).timeline) + 1;
begin
  -- On a standby that was promoted, what was moved since is of the new timeline already.
  if not public.was_promoted() or (before.system_identifier, before.database_oid, (public.feed_end()).timeline)
    is distinct from (system_identifier, database_oid, before.timeline)
  then
    update public.status_history h set timeline = begun, xact_id = pg_current_xact_id()
    where h.history_id > before.seen_history_id and h.at > before.seen_at - interval '1 hour'
      and h.timeline >= before.timeline;
  end if;
  insert into public.feed_timelines
    (timeline, system_identifier, database_oid, wal_timeline, seen_history_id, seen_xact_id)
  values (begun, system_identifier, database_oid, wal_timeline,
    coalesce(pg_sequence_last_value(pg_get_serial_sequence('public.status_history', 'history_id')::regclass), 0),
    pg_snapshot_xmax(pg_current_snapshot()));
  -- Last, as this is not taken back with the transaction.
  perform public.set_timeline(begun, wal_timeline);
  return begun;
end
$$;

-- Called by note_timeline and begin_timeline, while nobody moves a row.
create or replace function public.set_timeline(timeline integer, wal_timeline text) returns void
language sql
as $$
  select setval('public.status_history_timeline_seq',
    coalesce(('x' || wal_timeline)::bit(32)::bigint, 0) << 32 | timeline)
$$;

-- What holds the feed back: for how long the oldest move that is committed has waited, and for which transaction: a
-- session's, or one that was prepared. No row where nothing waits. `since` is seen by members of pg_read_all_stats only.
-- Read by the doctor and the metric.
create or replace function public.feed_held()
returns table (held_s double precision, pid integer, application text, username text, since timestamptz, prepared text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_bitmapscan = off
as $$
  with ends as materialized (select e.timeline, e.xact_id from public.feed_end() e),
  waiting as materialized (
    select h.at from ends e cross join lateral (
      select s.at from public.status_history s
      where s.timeline > 0 and (s.timeline, s.xact_id, s.history_id) >= (e.timeline, e.xact_id, 0)
      order by s.timeline, s.xact_id, s.history_id limit 100) h
  )
  select extract(epoch from public.fleet_now() - w.at)::double precision, a.pid, a.application_name, a.usename::text,
    coalesce(a.xact_start, p.prepared), p.gid
  from (select min(at) as at from waiting) w
  cross join ends e
  left join pg_stat_activity a on a.backend_xid = e.xact_id::xid
  left join pg_prepared_xacts p on p.transaction = e.xact_id::xid
  where w.at is not null
$$;
revoke execute on function public.feed_held() from public;

-- Keeps feed_floor true: what is a day old when it goes was pruned. A trigger of public.status_history.
create or replace function public.note_pruned() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.feed_floor as f (timeline, xact_id, history_id)
  select o.timeline, o.xact_id, o.history_id from old_rows o
  where o.at < public.fleet_now() - interval '1 day'
  order by o.timeline desc, o.xact_id desc, o.history_id desc limit 1
  on conflict (only_one) do update
    set timeline = excluded.timeline, xact_id = excluded.xact_id, history_id = excluded.history_id
    where (f.timeline, f.xact_id, f.history_id) < (excluded.timeline, excluded.xact_id, excluded.history_id);
  return null;
end
$$;
revoke execute on function public.note_pruned() from public;

create or replace trigger note_pruned after delete on public.status_history referencing old table as old_rows
  for each statement execute function public.note_pruned();

-- What of a row everybody may see who may see the row: its columns of these names. Read by the views below.
create or replace function public.shown_of(whole jsonb, names text[]) returns jsonb
language sql immutable
as $$ select jsonb_object_agg(c.key, c.value) from jsonb_each(whole) c where c.key = any (names) $$;

-- Whose rows are, and their public columns. No command, no variables, no log, no token; no address of an account. The
-- columns are named as texts, so that no view stands in the way of who drops one or changes its type.
create or replace view public.event_of_reservation as
select r.reservation_id as row_key, r.user_id as owner, public.shown_of(to_jsonb(r), '{
    user_id,status,gpu_type,gpu_count,duration_hours,name,created_at,launched_at,expires_at,
    reservation_ended,current_detailed_status,failure_reason,warning,disk_name,master_reservation_id,
    node_index,total_nodes,ssh_command,fqdn,jupyter_url,start_at,promised_at,oom_count,exit_code,
    exit_reason
  }') as shown
from public.reservations r;

-- What is seen of a disk. Read by event_rows.
create or replace view public.event_of_disk as
select d.disk_id as row_key, d.user_id as owner, public.shown_of(to_jsonb(d), '{
    user_id,disk_name,status,size_gb,created_at,last_used,reservation_id,in_use,snapshot_count,
    pending_snapshot_count,last_snapshot_at,operation_id,operation_status,operation_error,
    marked_deleted_at,delete_date,data_lost,detail
  }') as shown
from public.disks d;

-- What is seen of a snapshot: its disk says whose it is. Read by event_rows.
create or replace view public.event_of_disk_snapshot as
select n.snapshot_id as row_key, d.user_id as owner,
  public.shown_of(to_jsonb(n) || jsonb_build_object('user_id', d.user_id, 'disk_name', d.disk_name), '{
    user_id,disk_name,disk_id,kind,status,progress_percent,size_gb,created_at,completed_at,deleted_at,
    reservation_id,failure_reason
  }') as shown
from public.disk_snapshots n join public.disks d using (disk_id);

-- What is seen of what was asked for of a disk. Read by event_rows.
create or replace view public.event_of_disk_operation as
select o.operation_id as row_key, o.user_id as owner, public.shown_of(to_jsonb(o), '{
    user_id,action,disk_name,disk_id,snapshot_id,status,error,detail,created_at,finished_at
  }') as shown
from public.disk_operations o;

-- What is seen of a user's seat. Read by event_rows.
create or replace view public.event_of_assignment as
select a.id as row_key, a.user_id as owner, public.shown_of(to_jsonb(a), '{
    user_id,status,hopsworks_cluster_id,hopsworks_username,assigned_at,detail,suspended_at,suspended_for,
    released_at,failed_at
  }') as shown
from hopsworks.user_hopsworks_assignments a;

-- What is seen of a node, which is nobody's. Read by event_rows.
create or replace view public.event_of_node as
select n.id as row_key, null::text as owner, public.shown_of(to_jsonb(n), '{
    name,region,status,last_heartbeat,config_hash,error_message,deleted_at
  }') as shown
from autoscaler.nodes n;

-- What is seen of a cluster, which is nobody's. Read by event_rows.
create or replace view public.event_of_cluster as
select c.cluster_id as row_key, null::text as owner, public.shown_of(to_jsonb(c), '{
    name,region,status,health_score,max_nodes,primary_node_id,coordinator_node_id,epoch,leaderless,
    decommissioned_at
  }') as shown
from clusters.clusters c;

-- What is seen of a node of a cluster, which is nobody's. Read by event_rows.
create or replace view public.event_of_cluster_node as
select n.node_id as row_key, null::text as owner, public.shown_of(to_jsonb(n), '{
    cluster_id,node_number,name,region,status,health_status,roles,last_heartbeat,error_message,
    deleted_at
  }') as shown
from clusters.cluster_nodes n;

-- What is seen of a subscription to events: not where they go. Read by event_rows.
create or replace view public.event_of_subscription as
select s.subscription_id as row_key, s.user_id as owner, public.shown_of(to_jsonb(s), '{
    user_id,shown_url,format,machines,states,of_user,row_id,status,failing_since,last_delivered_at,last_answer,created_at
  }') as shown
from public.event_subscriptions s;

-- What is seen of a dead letter: not its message. It is its sender's: of a user's that the door has stamped (105), whoever
-- it names; else of whom it names, or of the owner of the row that it is about. Read by event_rows.
create or replace view public.event_of_dead_letter as
select d.dead_letter_id as row_key,
  coalesce(
    case when d.headers ->> 'asked_role' = 'USER' then d.headers ->> 'asked_by' end,
    d.message ->> 'user_id', r.user_id, o.user_id, i.user_id, s.user_id) as owner,
  public.shown_of(to_jsonb(d) || jsonb_build_object(
    'action', substring(d.message ->> 'action' from '^[a-z_]{1,60}$'), 'reason', left(d.reason, 1000)), '{
    queue,action,row_id,verdict,reason,attempts,died_at,answer,answered_at
  }') as shown
from public.dead_letters d
cross join lateral (
  select case when d.row_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then d.row_id::uuid end as id) k
left join public.reservations r on d.queue = 'gpu_reservations' and r.reservation_id = d.row_id
left join public.disk_operations o on d.queue = 'disk_operations' and o.operation_id = k.id
left join public.disks i on d.queue = 'disk_operations' and i.disk_id = k.id
left join public.event_subscriptions s on d.queue = 'event_deliveries' and s.subscription_id = k.id;

-- What is seen of an outage, which is nobody's. Read by event_rows.
create or replace view public.event_of_outage as
select o.outage_id as row_key, null::text as owner, public.shown_of(to_jsonb(o), '{
    dependency,calls,queue,code,reason,began_at,ended_at,probes
  }') as shown
from public.outages o;

-- What is seen of a sweep for silent nodes, which is nobody's. Read by event_rows.
create or replace view public.event_of_sweep as
select s.machine as row_key, null::text as owner, public.shown_of(to_jsonb(s), '{
    machine,swept_at,alive,silent,marked,held_back,held_back_since
  }') as shown
from public.offline_sweeps s;

-- What is seen of a Hopsworks cluster, which is nobody's. Read by event_rows.
create or replace view public.event_of_hopsworks_cluster as
select c.id as row_key, null::text as owner, public.shown_of(to_jsonb(c), '{
    name,status,current_users,max_users,created_at
  }') as shown
from hopsworks.hopsworks_clusters c;
