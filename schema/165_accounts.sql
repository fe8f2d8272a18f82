-- 165: what is done to accounts, names and keys: by the API for whom it speaks for (must_ask_as, 107), and by operators with the
-- owner's login. An account is named by its number or its e-mail. PF008: there is no such thing; PF013: not allowed;
-- unique_violation: there is one already.

-- Refuses all but people with one of these roles, or with the name `owner`. A node's number is no name. Called by the functions
-- here.
create or replace function public.must_be_person(roles text[], owner text default null) returns void
language plpgsql stable
as $$
begin
  perform public.must_ask_as(roles, case when public.asking_role() is distinct from 'NODE' then owner end);
end
$$;

-- Makes a key by its hash; where more is asked for than may be, PF004. Called by make_key and signed_in.
create or replace function public.insert_key(
  owner_id integer, new_hash text, new_prefix text, life_s double precision, described text, of_session boolean)
returns table (key_id integer, expires_at timestamptz)
language plpgsql
as $$
#variable_conflict use_column
begin
  if new_hash !~ '^[0-9a-f]{64}$' or new_prefix !~ '^[A-Za-z0-9_-]{8}$' or num_nulls(new_hash, new_prefix) > 0 then
    perform public.refuse_value('a key', 'this text', 'a SHA-256 in hex, and the first 8 characters of the key');
  elsif coalesce(life_s not between 1 and 365 * 86400.0, true) then
    perform public.refuse_value('the life of a key', life_s::text || ' s', '1 second to 365 days');
  end if;
  -- The owner's row is held: of two at once, one counts the other's key.
  perform from public.api_users p where p.user_id = owner_id for no key update;
  if (select count(*) from public.api_keys k
      where k.user_id = owner_id and k.is_active and k.expires_at > public.fleet_now()) >= 1000
  then
    raise exception 'there are 1,000 keys of this name already' using errcode = 'PF013', hint = 'Revoke some first.';
  end if;
  return query
    insert into public.api_keys as k (user_id, key_hash, key_prefix, created_at, expires_at, description, is_session)
    values (owner_id, new_hash, new_prefix, public.fleet_now(), public.fleet_now() + make_interval(secs => life_s),
      nullif(left(described, 500), ''), of_session)
    returning k.key_id, k.expires_at;
end
$$;

-- Makes a key for a name: for one's own, or any as an ADMIN, who may make the name with it (a service's). Called by
-- `pgfleet keys create` and the API.
create or replace function public.make_key(
  of_user text, new_hash text, new_prefix text, life_s double precision, described text, may_make_name boolean default false)
returns table (key_id integer, expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  owner_id integer;
  is_let boolean;
begin
  perform public.must_be_person('{ADMIN}', of_user);
  if may_make_name and not exists (select from public.api_users p where p.username = of_user) then
    perform public.must_be_person('{ADMIN}'), public.lock_people();
    perform public.check_username(of_user);
    insert into public.api_users (username) values (of_user) on conflict (username) do nothing;
  end if;
  select p.user_id, p.is_active and (p.account_id is null or u.is_active) into owner_id, is_let
  from public.api_users p left join autoscaler.users u on u.id = p.account_id
  where p.username = of_user;
  if owner_id is null then
    raise exception 'nobody has the name %', coalesce(left(of_user, 60), 'null') using errcode = 'PF008';
  elsif not coalesce(is_let, false) then
    raise exception '% is not active', of_user using errcode = 'PF013';
  end if;
  return query select * from public.insert_key(owner_id, new_hash, new_prefix, life_s, described, false);
end
$$;

-- Keys, the newest first: of a name, or of everybody (an ADMIN). At most so many, from before that number on.
create or replace function public.keys_seen(of_user text, before integer, most integer)
returns table (
  key_id integer, username text, key_prefix text, description text, created_at timestamptz, expires_at timestamptz,
  last_used_at timestamptz, is_active boolean, is_session boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform public.must_be_person('{ADMIN}', of_user);
  return query
    select k.key_id, p.username::text, k.key_prefix::text, k.description, k.created_at, k.expires_at, k.last_used_at,
      k.is_active and coalesce(k.expires_at > public.fleet_now(), true), k.is_session
    from public.api_keys k join public.api_users p on p.user_id = k.user_id
    where (of_user is null or p.username = of_user) and (before is null or k.key_id < before)
    order by k.key_id desc limit least(most, 1000);
end
$$;

-- Ends an active key, by its number or at least 4 of its first letters: one's own, or any as an ADMIN. PF008 where there is none,
-- also where it is somebody else's.
create or replace function public.revoke_key(which text)
returns table (key_id integer, username text, key_prefix text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  own constant text := case when public.asking_role() <> 'ADMIN' then public.request_user() end;
  meant integer[];
begin
  perform public.must_be_person('{ADMIN}', public.request_user());
  select array_agg(k.key_id) into meant
  from public.api_keys k join public.api_users p on p.user_id = k.user_id
  where k.is_active and (own is null or p.username = own)
    and case when which ~ '^[0-9]{1,9}$' then k.key_id = which::integer
      else length(which) >= 4 and starts_with(k.key_prefix, which) end;
  if meant is null then
    raise exception 'there is no active key %', coalesce(left(which, 20), 'null') using errcode = 'PF008';
  elsif cardinality(meant) > 1 then
    raise exception '% keys begin with %', cardinality(meant), which
      using errcode = 'PF008', hint = 'Name it by its number.';
  end if;
  return query
    update public.api_keys k set is_active = false from public.api_users p
    where k.key_id = meant[1] and p.user_id = k.user_id
    returning k.key_id, p.username::text, k.key_prefix::text;
end
$$;

-- PF004 where this can't be a name, or is one that differs in capital letters only. Called where a name is made.
create or replace function public.check_username(name text) returns void
language plpgsql stable
as $$
declare
  other text;
begin
  if not public.is_username(name) then
    perform public.refuse_value('a username', left(name, 60), '1 to 255 letters, digits and _ . @ | + -, with a letter');
  end if;
  select p.username into other from public.api_users p where lower(p.username) = lower(name) and p.username <> name limit 1;
  if found then
    perform public.refuse_value('a username', name, other || ', which is there already');
  end if;
end
$$;

-- The number of an account by its number or its e-mail, locked against others who change it. PF008 where there is none.
create or replace function public.lock_account(which text) returns integer
language plpgsql
as $$
declare
  meant integer[];
begin
  perform public.lock_people();
  select array_agg(u.id order by u.email = which desc) into meant from autoscaler.users u
  where case when which ~ '^[0-9]{1,9}$' then u.id = which::integer else lower(u.email) = lower(which) end;
  if meant is null then
    raise exception 'there is no account %', coalesce(left(which, 60), 'null') using errcode = 'PF008';
  elsif cardinality(meant) > 1 and not exists (select from autoscaler.users u where u.id = meant[1] and u.email = which) then
    raise exception 'several accounts have the e-mail %', left(which, 60)
      using errcode = 'PF008', hint = 'Name it by its number.';
  end if;
  perform from autoscaler.users u where u.id = meant[1] for no key update;
  return meant[1];
end
$$;

-- Refuses what would leave nobody who is an active ADMIN. Called before an account is one no more.
create or replace function public.keep_an_admin(without integer) returns void
language plpgsql
as $$
begin
  if exists (select from autoscaler.users u where u.id = without and u.role = 'ADMIN' and u.is_active)
    and not exists (select from autoscaler.users u where u.id <> without and u.role = 'ADMIN' and u.is_active)
  then
    raise exception 'it is the last active ADMIN' using errcode = 'PF013', hint = 'Make another one first.';
  end if;
end
$$;

-- Makes a local account, with a password's bcrypt hash or without, and its name. Returns its number. A role that is given stays,
-- whatever an issuer says later.
create or replace function public.make_account(
  new_email text, new_name text, new_role text, new_username text, password_hash text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  made integer;
begin
  perform public.must_be_person('{ADMIN}'), public.lock_people();
  if not public.is_email(new_email) then
    perform public.refuse_value('an e-mail', left(new_email, 60), 'name@domain, in plain letters');
  end if;
  if exists (select from autoscaler.users u where lower(u.email) = lower(new_email)) then
    raise exception 'there is an account % already', new_email using errcode = 'unique_violation';
  end if;
  perform public.check_role(new_role), public.check_password_hash(password_hash);
  insert into autoscaler.users (email, full_name, role, role_override, hashed_password, auth_provider)
  values (new_email, coalesce(nullif(left(new_name, 255), ''), new_email),
    coalesce(new_role, 'USER')::autoscaler.user_role, new_role is not null, password_hash, 'local')
  returning id into made;
  perform public.bind_username(made::text, coalesce(new_username, new_email));
  return made;
end
$$;

-- Refuses what is no role. Called by what makes and changes accounts.
create or replace function public.check_role(role text) returns void
language plpgsql stable
as $$
begin
  if role not in ('USER', 'DEVOPS', 'ADMIN') then
    perform public.refuse_value('a role', left(role, 60), 'USER, DEVOPS or ADMIN');
  end if;
end
$$;

-- Refuses what is no hash of a password. Called by what sets passwords.
create or replace function public.check_password_hash(hash text) returns void
language plpgsql stable
as $$
begin
  if hash !~ '^\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}$' then
    perform public.refuse_value('a password''s hash', 'this text', 'one of bcrypt');
  end if;
end
$$;

-- Gives an account a role, which stays whatever its issuer says.
create or replace function public.set_account_role(account text, new_role text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  meant integer;
begin
  perform public.must_be_person('{ADMIN}');
  if new_role is null then
    perform public.refuse_value('a role', 'null', 'USER, DEVOPS or ADMIN');
  end if;
  perform public.check_role(new_role);
  meant := public.lock_account(account);
  if new_role <> 'ADMIN' then
    perform public.keep_an_admin(meant);
  end if;
  update autoscaler.users set role = new_role::autoscaler.user_role, role_override = true where id = meant;
end
$$;

-- Lets an account in, or no more, whatever its proof.
create or replace function public.set_account_active(account text, let_in boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  meant integer;
begin
  perform public.must_be_person('{ADMIN}');
  meant := public.lock_account(account);
  if let_in is not true then
    perform public.keep_an_admin(meant);
  end if;
  update autoscaler.users set is_active = let_in is true where id = meant;
  if let_in then
    update public.api_users set is_active = true where account_id = meant and not is_active;
  end if;
end
$$;

-- Gives a local account another password, by its bcrypt hash: an ADMIN any, anybody their own. Sessions end, keys do not.
create or replace function public.set_account_password(account text, password_hash text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  meant integer;
begin
  perform public.must_be_person('{ADMIN}', (
    select p.username from public.api_users p join autoscaler.users u on u.id = p.account_id
    where p.username = public.request_user() and account in (u.id::text, u.email)));
  meant := public.lock_account(account);
  perform public.check_password_hash(password_hash);
  update autoscaler.users set hashed_password = password_hash where id = meant and auth_provider = 'local';
  if not found then
    raise exception 'account % signs in with its issuer, and has no password here', meant using errcode = 'PF013';
  end if;
  update public.api_keys k set is_active = false from public.api_users p
  where p.account_id = meant and k.user_id = p.user_id and k.is_session and k.is_active;
end
$$;

-- Forgets the wrong passwords for an account, from wherever they came. Returns from how many addresses there were any.
create or replace function public.unlock_account(account text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  meant integer;
  forgotten integer;
begin
  perform public.must_be_person('{ADMIN}');
  meant := public.lock_account(account);
  delete from public.sign_in_failures f using autoscaler.users u
  where u.id = meant
    and f.email_hash = encode(sha256(convert_to(lower(u.email), 'UTF8')), 'hex');
  get diagnostics forgotten = row_count;
  return forgotten;
end
$$;

-- Binds a name to an account, though rows or logins use it; nobody else's. The keys of the account's name of before end, and so
-- do those that the new name had. Returns how many.
create or replace function public.bind_username(account text, name text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  meant integer;
  ended integer;
begin
  perform public.must_be_person('{ADMIN}');
  meant := public.lock_account(account);
  perform public.check_username(name);
  if exists (select from public.api_users p where p.username = name and p.account_id <> meant) then
    raise exception 'the name % is another account''s', name using errcode = 'PF013';
  elsif exists (select from public.api_users p where p.username = name and p.account_id = meant) then
    return 0;
  end if;
  update public.api_keys k set is_active = false from public.api_users p
  where p.user_id = k.user_id and (p.account_id = meant or p.username = name) and k.is_active;
  get diagnostics ended = row_count;
  update public.api_users p set account_id = null, is_active = false where p.account_id = meant;
  insert into public.api_users (username, email, account_id)
  select name, case when public.is_email(u.email) then u.email end, u.id from autoscaler.users u where u.id = meant
  on conflict (username) do update set account_id = excluded.account_id, is_active = true, email = excluded.email;
  return ended;
end
$$;

-- Accounts, by their numbers from after one on, at most so many; or one of them. DEVOPS sees them, too.
create or replace function public.accounts_seen(which text, after integer, most integer)
returns table (
  id integer, email text, full_name text, username text, role text, role_override boolean, auth_provider text,
  has_password boolean, is_active boolean, issuers text[], created_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform public.must_be_person('{DEVOPS,ADMIN}');
  return query
    select u.id, u.email::text, u.full_name::text, p.username::text, coalesce(u.role, 'USER')::text,
      coalesce(u.role_override, false), u.auth_provider::text, u.hashed_password is not null,
      coalesce(u.is_active, false) and coalesce(p.is_active, true),
      array(select s.issuer from autoscaler.user_subjects s where s.account_id = u.id order by 1),
      u.created_at at time zone 'UTC'
    from autoscaler.users u left join public.api_users p on p.account_id = u.id
    where (after is null or u.id > after)
      and (which is null or case when which ~ '^[0-9]{1,9}$' then u.id = which::integer else lower(u.email) = lower(which) end)
    order by u.id limit least(most, 1000);
end
$$;

revoke execute on function public.make_key(text, text, text, double precision, text, boolean),
  public.keys_seen(text, integer, integer), public.revoke_key(text),
  public.make_account(text, text, text, text, text), public.set_account_role(text, text),
  public.set_account_active(text, boolean), public.set_account_password(text, text), public.unlock_account(text),
  public.bind_username(text, text), public.accounts_seen(text, integer, integer)
from public;
