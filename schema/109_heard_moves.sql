-- 109: moves for those who sit at the database: a bell, and what has moved since. What is read is the feed (167): LISTEN has no
-- rights, so the bell says nothing but *read on*. Event workers ring it, once the feed shows what has moved: a trigger would
-- have to ring before that, and cost each move as much as all that the server does for it.
--
--   listen pgfleet_events           rings when something has moved, for whoever listens
--   heard_from()                    the position of now, to begin with
--   moves_after(position)           what has moved since, of rows that the login may see

-- The position of now: whatever is committed from now on comes after it. Called once by whoever begins to listen.
create or replace function public.heard_from() returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.note_timeline();
  return (select format('%s.%s.0', e.timeline, e.xact_id) from public.feed_end() e);
end
$$;
revoke execute on function public.heard_from() from public;

-- The next moves after a position, in the order of commits: of one's own rows; of all for monitoring, the owner, and
-- operators whom the API speaks for. At most `most` are looked at; the last one is there in any case, without its machine
-- where it is not for who asks: its position is where to read on. No row: that was all. PF410 where moves after the
-- position are not kept any more. Whether row level security is on or off.
create or replace function public.moves_after(after_position text, most integer default 500)
returns table ("position" text, machine text, row_id text, from_status text, to_status text, reason text, at timestamptz,
  owner text, shown jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  serves_as constant text := public.serving_role();
  sees_all constant boolean := case when serves_as is not null then serves_as in ('DEVOPS', 'ADMIN')
    else public.is_owner() or coalesce(pg_has_role(session_user, to_regrole('pgfleet_monitor')::oid, 'member'), false) end;
  parts constant text[] := regexp_match(after_position, '^([0-9]{1,9})\.([0-9]{1,19})\.([0-9]{1,18})$');
begin
  if parts is null then
    perform public.refuse_value('a position', left(after_position, 60), 'as heard_from() and moves_after() give it');
  elsif serves_as = 'NODE' then
    return;
  end if;
  return query
    select format('%s.%s.%s', e.timeline, e.xact_id, e.history_id), e.machine, e.row_id, e.from_status, e.to_status,
      e.reason, e.at, e.owner, e.shown
    from public.events_since(parts[1]::integer, parts[2]::xid8, parts[3]::bigint, least(greatest(most, 1), 5000),
      of_user => case when not sees_all then public.request_user() end) e;
end
$$;
revoke execute on function public.moves_after(text, integer) from public;
