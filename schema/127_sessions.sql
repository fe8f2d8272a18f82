-- 127: sessions of the dashboard: a key of their own for whoever has proven who they are by a key or a token. With a password
-- it is `signed_in` (164) that makes it.

-- Begins a session of whom the API speaks for: a key by its hash, that lasts no longer than the key it was begun with. Called
-- by `identity/sessions.py`.
create or replace function public.begin_session(new_hash text, new_prefix text, life_s double precision, with_key integer)
returns table (key_id integer, expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  owner_id integer;
  left_s double precision;
begin
  perform public.must_be_person('{}', public.request_user());
  select p.user_id into owner_id
  from public.api_users p left join autoscaler.users u on u.id = p.account_id
  where p.username = public.request_user() and p.is_active and (p.account_id is null or u.is_active);
  if owner_id is null then
    raise exception '% is not active', public.request_user() using errcode = 'PF013';
  end if;
  if with_key is not null then
    select extract(epoch from coalesce(k.expires_at, 'infinity') - public.fleet_now()) into left_s
    from public.api_keys k where k.key_id = with_key and k.user_id = owner_id and k.is_active;
    if coalesce(left_s <= 1, true) then
      raise exception 'the key has ended meanwhile' using errcode = 'PF013';
    end if;
  end if;
  select k.key_id, k.expires_at into key_id, expires_at
  from public.insert_key(owner_id, new_hash, new_prefix, least(life_s, left_s), 'signed in to the dashboard', true) k;
  update public.api_keys k set begun_with = with_key where k.key_id = begin_session.key_id and with_key is not null;
  return next;
end
$$;

revoke execute on function public.begin_session(text, text, double precision, integer) from public;

-- With a key end the sessions that were begun with it.
create or replace function public.end_sessions_of_key() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update public.api_keys k set is_active = false
  from ended e where k.begun_with = e.key_id and k.is_active and not e.is_active;
  return null;
end
$$;
revoke execute on function public.end_sessions_of_key() from public;

create or replace trigger end_sessions_of_key after update on public.api_keys
referencing new table as ended
for each statement when (pg_trigger_depth() < 2) execute function public.end_sessions_of_key();
