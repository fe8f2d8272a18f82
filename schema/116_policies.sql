-- 116: what one user may have at once (047), and what of it is used, counted where rows are made.

-- The team of a user: the id of the account's owner, as row level security has teams (may_see); null where the user is
-- none of Hopsworks'. Called by policies_of, and by the policy of the policies.
create or replace function public.team_of(of_user text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select coalesce(u.account_owner_id, u.id) from hopsworks.users u where u.id = of_user $$;
revoke execute on function public.team_of(text) from public;

-- What applies to these users: of each limit the narrowest policy, of GPUs for each type. A limit without a policy is in
-- no row. Called by limits_of.
create or replace function public.policies_of(of_users text[])
returns table (
  user_id text, name text, gpu_type text, most double precision, patterns text[], applies_to text, subject text, counts text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select distinct on (u.user_id, l.name, t.gpu_type)
    u.user_id, l.name, t.gpu_type, p.most, p.patterns, p.applies_to, p.subject,
    case when t.gpu_type = '' then l.counts else t.gpu_type || ' ' || l.counts end
  from (select n.user_id, public.team_of(n.user_id) as team from (select distinct unnest(of_users)) n (user_id)) u
  cross join public.limits l
  cross join lateral (
    select '' where l.name <> 'gpus'
    union all
    select g.gpu_type::text from public.gpu_types g where l.name = 'gpus' and g.max_gpus > 0) t (gpu_type)
  join public.policies p on p.limit_name = l.name and p.gpu_type in ('', t.gpu_type)
    and (p.applies_to = 'everybody' or p.applies_to = 'team' and p.subject = u.team
      or p.applies_to = 'user' and p.subject = u.user_id)
  order by u.user_id, l.name, t.gpu_type,
    case p.applies_to when 'user' then 1 when 'team' then 2 else 3 end, p.gpu_type = ''
$$;
revoke execute on function public.policies_of(text[]) from public;

-- The hours that a user has reserved in seven days: those in which reservations ran, and those that live ones have
-- still to come, each node of a gang by itself. Called by limits_of.
create or replace function public.hours_in_week(of_user text) returns double precision
language sql stable security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off
as $$
  select coalesce(sum(case
    when r.status in ('pending', 'queued', 'preparing') then r.duration_hours
    else greatest(extract(epoch from
      case when r.status = 'active' then r.expires_at else least(r.expires_at, r.status_since) end
      - greatest(r.launched_at, w.begins)) / 3600, 0) end), 0)::double precision
  from (select public.fleet_now() - interval '7 days' as begins) w
  cross join lateral (
    select * from public.reservations r
    -- Whatever waited and ran for as long as any may.
    where r.user_id = of_user and r.created_at > w.begins - interval '30 days'
    offset 0) r
  where r.status in ('pending', 'queued', 'preparing', 'active') and r.unchecked_since is null
    or r.launched_at is not null and r.status_since > w.begins
$$;
revoke execute on function public.hours_in_week(text) from public;

-- Of these users, each limit: how much is used of it, and the most (null: no limit, and nothing is counted). What nobody has
-- checked yet (058) is not counted. What is far
-- beyond a limit is not counted to its end; nor is any table read whole, though it was last analyzed when it was empty.
-- Called by keep_to_limits and limits_seen, and by workers before they make rows.
create or replace function public.limits_of(of_users text[])
returns table (
  user_id text, name text, gpu_type text, most double precision, patterns text[], used double precision, applies_to text,
  subject text, counts text)
language sql stable security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off
as $$
  select p.user_id, p.name, p.gpu_type, p.most, p.patterns,
    case when p.most is null then 0 else case p.name
      when 'reservations' then (
        select count(*) from (
          select from public.reservations r
          where r.user_id = p.user_id and r.status in ('pending', 'queued', 'preparing', 'active')
            and r.unchecked_since is null
          limit p.most::bigint + 1) live)
      when 'gpus' then (
        select coalesce(sum(r.gpu_count), 0) from public.reservations r
        where r.user_id = p.user_id and r.status in ('pending', 'queued', 'preparing', 'active')
          and r.gpu_type = p.gpu_type and r.unchecked_since is null)
      when 'hours_week' then public.hours_in_week(p.user_id)
      when 'disks' then (
        select count(*) from (
          select from public.disks d
          where d.user_id = p.user_id and d.status in ('creating', 'available', 'attached', 'deleted')
          limit p.most::bigint + 1) kept)
      when 'disk_gb' then (
        select coalesce(sum(d.size_gb), 0) from public.disks d
        where d.user_id = p.user_id and d.status in ('creating', 'available', 'attached', 'deleted'))
      when 'disk_operations' then (
        select count(*) from (
          select from public.disk_operations o
          where o.user_id = p.user_id and o.status in ('pending', 'in_progress') and o.unchecked_since is null
          limit p.most::bigint + 1) live)
      when 'disk_snapshots' then (
        select count(*) from (
          select from (select d.disk_id from public.disks d where d.user_id = p.user_id offset 0) d
          cross join lateral (
            select from public.disk_snapshots s
            where s.disk_id = d.disk_id and s.operation_id is not null
              and s.status in ('pending', 'creating', 'completed', 'deleting')
            offset 0) s
          limit p.most::bigint + 1) kept)
      else 0
    end end,
    p.applies_to, p.subject, p.counts
  from public.policies_of(of_users) p
$$;
revoke execute on function public.limits_of(text[]) from public;

-- The same of one user, for who may see it: the user, the owner of the user's team, operators. Called by the dry run and
-- `pgfleet policy`.
create or replace function public.limits_seen(of_user text)
returns table (
  user_id text, name text, gpu_type text, most double precision, patterns text[], used double precision, applies_to text,
  subject text, counts text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query select l.* from public.limits_of(array[of_user]) l where public.is_owner() or public.may_see(of_user);
end
$$;
revoke execute on function public.limits_seen(text) from public;

-- Refuses (PF409) what is beyond one of these limits of these users. The first limit's rows in limit_turns are held, so
-- that whoever comes next counts what was made before. Called by keep_to_limits and keep_to_limits_checked.
create or replace function public.hold_to_limits(of_users text[], of_types text[], limit_names text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  beyond record;
begin
  insert into public.limit_turns as t (limit_name, user_id, taken_at)
  select limit_names[1], u.user_id, public.fleet_now()
  from unnest(of_users) with ordinality u (user_id, place) order by u.place
  on conflict (limit_name, user_id) do update set taken_at = excluded.taken_at;
  select * into beyond from public.limits_of(of_users) l
  where l.used > l.most and l.name = any (limit_names) and (l.gpu_type = '' or l.gpu_type = any (of_types)) limit 1;
  if found then
    raise exception '% would have more than % %', beyond.user_id, beyond.most, beyond.counts
      using errcode = 'PF409', hint = format('public.policies says how much one user may have: %s.', beyond.name);
  end if;
end
$$;
revoke execute on function public.hold_to_limits(text[], text[], text[]) from public;

-- Refuses what would be beyond a limit of its user. Arguments: the limits. A worker looks again, and tells who asked. A
-- trigger of what users have, once a statement of a worker's: an operator may go beyond a limit by hand.
create or replace function public.keep_to_limits() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  of_users text[];
  of_types text[];
begin
  select array_agg(distinct m.user_id::text order by m.user_id::text),
    array_agg(distinct coalesce(to_jsonb(m) ->> 'gpu_type', ''))
  into of_users, of_types
  from made m where m.status not in ('cancelled', 'expired', 'failed', 'purged', 'completed');
  if of_users is not null then
    perform public.hold_to_limits(of_users, of_types, tg_argv[0:]);
  end if;
  return null;
end
$$;
revoke execute on function public.keep_to_limits() from public;

-- The same of a row that was there before its message was checked (168), and is counted from then on.
create or replace function public.keep_to_limits_checked() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.hold_to_limits(array[new.user_id::text], array[coalesce(to_jsonb(new) ->> 'gpu_type', '')], tg_argv[0:]);
  return null;
end
$$;
revoke execute on function public.keep_to_limits_checked() from public;

create or replace trigger keep_to_limits after insert on public.reservations
  referencing new table as made for each statement when (public.said('pgfleet.actor') is not null)
  execute function public.keep_to_limits('reservations', 'gpus', 'hours_week');
create or replace trigger keep_to_limits after insert on public.disks
  referencing new table as made for each statement when (public.said('pgfleet.actor') is not null)
  execute function public.keep_to_limits('disks', 'disk_gb');
create or replace trigger keep_to_limits after insert on public.disk_operations
  referencing new table as made for each statement when (public.said('pgfleet.actor') is not null)
  execute function public.keep_to_limits('disk_operations');
