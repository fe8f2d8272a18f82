-- 112: what one user may have at once (040), counted where rows are made; and whose SSH keys are on record.

-- Of these users, each limit: how much is used of it, and the most. What is far beyond a limit is not counted to its
-- end; nor is any table read whole, though it was last analyzed when it was empty. Called by keep_to_limits, and by workers before they make rows.
create or replace function public.limits_of(of_users text[])
returns table (user_id text, name text, most integer, used bigint, counts text)
language sql stable security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off
as $$
  select u.user_id, l.name, l.most,
    case l.name
      when 'reservations' then (
        select count(*) from (
          select from public.reservations r
          where r.user_id = u.user_id and r.status in ('pending', 'queued', 'preparing', 'active')
          limit l.most + 1) live)
      when 'disks' then (
        select count(*) from (
          select from public.disks d
          where d.user_id = u.user_id and d.status in ('creating', 'available', 'attached', 'deleted')
          limit l.most + 1) kept)
      when 'disk_gb' then (
        select coalesce(sum(d.size_gb), 0) from public.disks d
        where d.user_id = u.user_id and d.status in ('creating', 'available', 'attached', 'deleted'))
      when 'disk_operations' then (
        select count(*) from (
          select from public.disk_operations o
          where o.user_id = u.user_id and o.status in ('pending', 'in_progress')
          limit l.most + 1) live)
      when 'disk_snapshots' then (
        select count(*) from (
          select from (select d.disk_id from public.disks d where d.user_id = u.user_id offset 0) d
          cross join lateral (
            select from public.disk_snapshots s
            where s.disk_id = d.disk_id and s.operation_id is not null
              and s.status in ('pending', 'creating', 'completed', 'deleting')
            offset 0) s
          limit l.most + 1) kept)
      else 0
    end,
    l.counts
  from (select distinct unnest(of_users)) u (user_id) cross join public.limits l
$$;
revoke execute on function public.limits_of(text[]) from public;

-- Refuses what would be beyond a limit of its user. Arguments: the limits; the first one's row in limit_turns is held,
-- so that whoever comes next counts what was made before. A worker looks again, and tells who asked. A trigger of what
-- users have, once a statement of a worker's: an operator may go beyond a limit by hand.
create or replace function public.keep_to_limits() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  of_users constant text[] := array(
    select distinct m.user_id::text from made m
    where m.status not in ('cancelled', 'expired', 'failed', 'purged', 'completed') order by 1);
  beyond record;
begin
  insert into public.limit_turns as t (limit_name, user_id, taken_at)
  select tg_argv[0], u.user_id, public.fleet_now() from unnest(of_users) with ordinality u (user_id, place) order by u.place
  on conflict (limit_name, user_id) do update set taken_at = excluded.taken_at;
  select * into beyond from public.limits_of(of_users) l where l.used > l.most and l.name = any (tg_argv) limit 1;
  if found then
    raise exception '% would have more than % %', beyond.user_id, beyond.most, beyond.counts
      using errcode = 'PF409', hint = format('public.limits says how many one user may have: %s.', beyond.name);
  end if;
  return null;
end
$$;
revoke execute on function public.keep_to_limits() from public;

create or replace trigger keep_to_limits after insert on public.reservations
  referencing new table as made for each statement when (public.said('pgfleet.actor') is not null)
  execute function public.keep_to_limits('reservations');
create or replace trigger keep_to_limits after insert on public.disks
  referencing new table as made for each statement when (public.said('pgfleet.actor') is not null)
  execute function public.keep_to_limits('disks', 'disk_gb');
create or replace trigger keep_to_limits after insert on public.disk_operations
  referencing new table as made for each statement when (public.said('pgfleet.actor') is not null)
  execute function public.keep_to_limits('disk_operations');

-- The name at GitHub that is on record for a user; null where none is. Called by workers, by note_github_user, and by
-- the command line where the login may.
create or replace function public.github_user_of(of_user text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select p.github_user from public.api_users p where p.username = of_user and p.is_active $$;
revoke execute on function public.github_user_of(text) from public;

-- Fills in who is let in where a service inserts a reservation and names nobody. A trigger of public.reservations.
create or replace function public.note_github_user() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  new.github_user := public.github_user_of(new.user_id);
  return new;
end
$$;
revoke execute on function public.note_github_user() from public;

create or replace trigger note_github_user before insert on public.reservations
  for each row when (new.github_user is null) execute function public.note_github_user();
