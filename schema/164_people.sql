-- 164: who a proof leads to: a key, a subject of an issuer, an e-mail with its password. Called by the API's login before it
-- speaks for anybody, so they ask for no role: the right to call them is what lets (identity_rights, 166). PF013 is what they
-- raise where a proof is good and its owner is not let in.

-- The network that an address counts as: itself, or of IPv6 the /64, as one person has so many. `unknown` for other text.
-- Called by password_of, signed_in and note_refusals.
create or replace function public.address_group(address text) returns text
language plpgsql immutable
as $$
begin
  return host(network(set_masklen(address::inet, case when family(address::inet) = 6 then 64 else 32 end)));
exception when invalid_text_representation or null_value_not_allowed then
  return 'unknown';
end
$$;

-- E-mails and names that can be told from one another by looking at them: no letters that look like others.
create or replace function public.is_email(address text) returns boolean
language sql immutable
as $$ select coalesce(length(address) <= 255 and address ~ '^[!-?A-~]{1,64}@[A-Za-z0-9.-]+$' and address !~* '\.invalid$', false) $$;

-- A name has a letter: digits alone are the name of a node.
create or replace function public.is_username(name text) returns boolean
language sql immutable
as $$ select coalesce(name ~ '^[A-Za-z0-9_][A-Za-z0-9_.@|+-]{0,254}$' and name ~ '[A-Za-z]', false) $$;

-- One at a time: whoever makes accounts and names, or takes a role from one. No advisory lock, as any login could hold that.
-- Called by those here and in 165.
create or replace function public.lock_people() returns void
language plpgsql
as $$ begin lock table autoscaler.user_subjects in share row exclusive mode; end $$;

-- Who a key is: no row unless it is active, has not ended, and is of somebody active. Notes the use at most once a minute; of
-- two requests at once one notes it, and none waits. Called with each request that has a key.
create or replace function public.principal_of_key(of_hash text)
returns table (username text, role text, account_id integer, email text, key_id integer, expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  used_at timestamptz;
begin
  select p.username, coalesce(u.role, 'USER')::text, u.id, coalesce(u.email, p.email), k.key_id, k.expires_at, k.last_used_at
  into username, role, account_id, email, key_id, expires_at, used_at
  from public.api_keys k
  join public.api_users p on p.user_id = k.user_id
  left join autoscaler.users u on u.id = p.account_id
  where k.key_hash = of_hash and k.is_active and (k.expires_at is null or k.expires_at > public.fleet_now())
    and p.is_active and (p.account_id is null or u.is_active);
  if not found then
    return;
  end if;
  if coalesce(used_at < public.fleet_now() - interval '1 minute', true) then
    update public.api_keys set last_used_at = public.fleet_now()
    where ctid = (
      select k.ctid from public.api_keys k
      where k.key_hash = of_hash and coalesce(k.last_used_at < public.fleet_now() - interval '1 minute', true)
      for no key update skip locked);
  end if;
  return next;
end
$$;

-- Whether anything goes by this name already, so that nobody gets it by calling themselves so: rows, logins and roles, users of
-- Hopsworks, whose teams are theirs to see. A subject is what its own issuer says, so it may be the id of a Hopsworks user.
-- Called by claim_username. (Reservations have a column `name`, too.)
create or replace function public.is_name_used(name text, is_own_subject boolean) returns boolean
language sql stable
as $$
  select exists (select from public.reservations r where r.user_id = is_name_used.name)
    or exists (select from public.disks d where d.user_id = is_name_used.name)
    or exists (select from pg_roles l where lower(l.rolname) = lower(is_name_used.name))
    or not is_own_subject and exists (
      select from hopsworks.users u where u.id = is_name_used.name or u.account_owner_id = is_name_used.name)
$$;

-- Gives an account the name that its token says, if it is nobody's. Returns why not, or null. Called by principal_of_subject,
-- under lock_people.
create or replace function public.claim_username(of_account integer, name text, is_own_subject boolean) returns text
language plpgsql
as $$
declare
  asks constant text := 'An ADMIN binds a name to account ' || of_account || ': pgfleet accounts bind.';
begin
  if not public.is_username(name) then
    return 'The name in your token can''t be used here: it has to be of letters, digits and _ . @ | + -, at most 255. ' || asks;
  elsif exists (select from public.api_users p where lower(p.username) = lower(name)) then
    return format('The name %s belongs to somebody else. ', name) || asks;
  elsif public.is_name_used(name, is_own_subject) then
    return format('Rows or logins use the name %s already. ', name) || asks;
  end if;
  insert into public.api_users (username, email, account_id)
  select name, case when public.is_email(u.email) then u.email end, u.id from autoscaler.users u where u.id = of_account;
  return null;
end
$$;

-- The account that a subject is at its first sight: one that is known by the subject or by the verified e-mail, if the issuer
-- may say so and no subject is that account's yet; else a new one. An e-mail that nobody has verified is not kept, as it would
-- be somebody else's. Called by principal_of_subject, under lock_people.
create or replace function public.account_at_first_sight(
  of_issuer text, of_subject text, verified_email text, name text, may_link boolean) returns integer
language plpgsql
as $$
declare
  known integer[];
  made integer;
begin
  if may_link then
    select array_agg(u.id) into known from autoscaler.users u
    where u.keycloak_user_id = of_subject and not exists (select from autoscaler.user_subjects s where s.account_id = u.id);
  end if;
  if known is null and verified_email is not null then
    if exists (
      select from autoscaler.users u where lower(u.email) = lower(verified_email) and not coalesce(u.is_active, false))
    then
      raise exception 'the account with your e-mail is not active' using errcode = 'PF013';
    end if;
    select array_agg(u.id) into known from autoscaler.users u
    where may_link and lower(u.email) = lower(verified_email)
      and not exists (select from autoscaler.user_subjects s where s.account_id = u.id);
  end if;
  if cardinality(known) > 1 then
    raise exception 'several accounts have your e-mail, in capital and small letters' using errcode = 'PF013';
  elsif known is not null then
    made := known[1];
    update autoscaler.users u
    set auth_provider = 'keycloak', hashed_password = null, keycloak_user_id = coalesce(u.keycloak_user_id, free.subject)
    from (select case when not exists (select from autoscaler.users o where o.keycloak_user_id = of_subject)
      then of_subject end as subject) free
    where u.id = made;
  else
    insert into autoscaler.users (email, full_name, auth_provider, keycloak_user_id)
    select
      case when verified_email is not null
        and not exists (select from autoscaler.users o where lower(o.email) = lower(verified_email))
      then verified_email
      else left(encode(sha256(convert_to(of_issuer || ' ' || of_subject, 'UTF8')), 'hex'), 32) || '@no-email.invalid' end,
      coalesce(nullif(left(name, 255), ''), left(of_subject, 255)), 'keycloak',
      case when not exists (select from autoscaler.users o where o.keycloak_user_id = of_subject) then of_subject end
    returning id into made;
  end if;
  insert into autoscaler.user_subjects (issuer, subject, account_id) values (of_issuer, of_subject, made);
  perform autoscaler.write_audit(
    case when known is null then 'USER_CREATED' else 'USER_LINKED' end, 'USER', 'user', made::text, name,
    'at the first sign-in with ' || of_issuer, 'SUCCESS', null, made);
  return made;
end
$$;

-- Takes over the role that a token says, and its verified e-mail where the account has none yet. What the issuer says counts,
-- also of the last ADMIN: who is to stay one whatever it says has a role that an ADMIN gave. Called by principal_of_subject.
create or replace function public.follow_token(of_account integer, verified_email text, given_role text) returns void
language plpgsql
as $$
declare
  was record;
  wanted constant text := case when given_role in ('DEVOPS', 'ADMIN') then given_role else 'USER' end;
begin
  select coalesce(u.role, 'USER')::text as role, coalesce(u.role_override, false) as is_given, u.email into was
  from autoscaler.users u where u.id = of_account;
  if given_role is not null and not was.is_given and was.role <> wanted then
    perform autoscaler.write_audit('USER_UPDATED', 'USER', 'user', of_account::text, null,
      format('the issuer says %s, was %s', wanted, was.role), 'SUCCESS', null, of_account);
    update autoscaler.users u set role = wanted::autoscaler.user_role where u.id = of_account;
  end if;
  if was.email like '%.invalid' and verified_email is not null then
    update autoscaler.users u set email = verified_email
    where u.id = of_account
      and not exists (select from autoscaler.users o where lower(o.email) = lower(verified_email));
  end if;
end
$$;

-- Who a verified token is about; made at its first sight. `given_role` is null where no claim is configured for it, else what
-- the claim says. `link_issuer` is the one issuer whose verified e-mails and subjects name accounts that were there before.
-- Where the name can't be the account's, `username` is null and `refused` says why; the account is there then, for an ADMIN to
-- bind a name to. Called with each request that has a token: one that is known reads three rows and writes none.
create or replace function public.principal_of_subject(
  of_issuer text, of_subject text, given_email text, is_verified boolean, wanted_name text, full_name text, given_role text,
  link_issuer text)
returns table (username text, role text, account_id integer, email text, refused text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  verified_email constant text := case when is_verified and public.is_email(given_email) then given_email end;
  found record;
begin
  for attempt in 1..2 loop
    select s.account_id, u.is_active, coalesce(u.role, 'USER')::text as role, u.email, p.username,
      coalesce(p.is_active, true) as is_name_active,
      given_role is not null and not coalesce(u.role_override, false)
        and coalesce(u.role, 'USER')::text <> case when given_role in ('DEVOPS', 'ADMIN') then given_role else 'USER' end
        or u.email like '%.invalid' and verified_email is not null
          and not exists (select from autoscaler.users o where lower(o.email) = lower(verified_email)) as has_changed
    into found
    from autoscaler.user_subjects s
    join autoscaler.users u on u.id = s.account_id
    left join public.api_users p on p.account_id = u.id
    where s.issuer = of_issuer and s.subject = of_subject;
    if found.account_id is not null and not (coalesce(found.is_active, false) and found.is_name_active) then
      raise exception 'your account is not active' using errcode = 'PF013';
    end if;
    exit when attempt = 2 or found.username is not null and not found.has_changed;

    perform public.lock_people();
    -- Somebody else may have made it meanwhile: what was read before the lock is asked again.
    select s.account_id into found from autoscaler.user_subjects s where s.issuer = of_issuer and s.subject = of_subject;
    perform set_config('pgfleet.audited', pg_current_xact_id()::text, true);
    if found.account_id is null then
      found.account_id := public.account_at_first_sight(
        of_issuer, of_subject, verified_email, full_name, coalesce(of_issuer = link_issuer, false));
    end if;
    perform public.follow_token(found.account_id, verified_email, given_role);
    if not exists (select from public.api_users p where p.account_id = found.account_id) then
      refused := public.claim_username(found.account_id, wanted_name, coalesce(of_issuer = link_issuer, false) and wanted_name = of_subject);
    end if;
    perform set_config('pgfleet.audited', '', true);
  end loop;
  select found.username, found.role, found.account_id, found.email into username, role, account_id, email;
  return next;
end
$$;

-- How long no other password is looked at after so many wrong ones, for one account from one address: three are free, then
-- 1 s, 2 s, 4 s and so on, at most a quarter of an hour. Called by password_of.
create or replace function public.sign_in_pause(failures integer) returns interval
language sql immutable
as $$ select make_interval(secs => case when failures <= 3 then 0 else least(2 ^ least(failures - 4, 20), 900) end) $$;

-- The password's hash of an account with this e-mail, to be compared by the caller, who then says signed_in. No hash where there
-- is no such account, or it can't sign in so: whoever asks is not told which. Each call counts as a failure until signed_in, so
-- that many at once are many; with `wait_s` over 0 it was not counted, and nothing is to be compared.
create or replace function public.password_of(
  of_email text, from_address text, out account_id integer, out hash text, out wait_s double precision) returns record
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  now_is constant timestamptz := public.fleet_now();
  of_hash constant text := encode(sha256(convert_to(lower(of_email), 'UTF8')), 'hex');
  of_group constant text := public.address_group(from_address);
begin
  insert into public.sign_in_failures as f (email_hash, address, failures, last_at, not_before)
  values (of_hash, of_group, 1, now_is, now_is)
  on conflict (email_hash, address) do update
  set failures = case when f.last_at < now_is - interval '1 day' then 1 else f.failures + 1 end,
    last_at = now_is,
    not_before = now_is + case when f.last_at < now_is - interval '1 day' then interval '0'
      else public.sign_in_pause(f.failures + 1) end
  where f.not_before <= now_is;
  if not found then
    select greatest(extract(epoch from f.not_before - now_is), 1) into wait_s
    from public.sign_in_failures f where f.email_hash = of_hash and f.address = of_group;
    return;
  end if;
  wait_s := 0;
  -- Of accounts that differ in capital letters only: the one that is written so, else the oldest.
  select u.id, u.hashed_password into account_id, hash
  from autoscaler.users u
  left join public.api_users p on p.account_id = u.id
  where lower(u.email) = lower(of_email) and u.is_active and u.auth_provider = 'local' and coalesce(p.is_active, true)
    and u.hashed_password ~ '^\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}$'
  order by u.email = of_email desc, u.id
  limit 1;
end
$$;

-- Lets in whoever had the password of that hash: forgets the failures from that address, and makes the key that is the session.
-- PF013 where the password was changed meanwhile, or the account is not active any more, or has no name.
create or replace function public.signed_in(
  of_account integer, checked_hash text, from_address text, new_hash text, new_prefix text, life_s double precision)
returns table (username text, role text, account_id integer, email text, key_id integer, expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  owner_id integer;
begin
  select p.user_id, p.username, coalesce(u.role, 'USER')::text, u.id, u.email
  into owner_id, username, role, account_id, email
  from autoscaler.users u
  join public.api_users p on p.account_id = u.id and p.is_active
  where u.id = of_account and u.is_active and u.auth_provider = 'local' and u.hashed_password = checked_hash;
  if not found then
    raise exception 'the account has changed meanwhile, or has no name' using errcode = 'PF013',
      hint = 'An ADMIN binds a name to it: pgfleet accounts bind.';
  end if;
  delete from public.sign_in_failures f
  where f.email_hash = encode(sha256(convert_to(lower(email), 'UTF8')), 'hex')
    and f.address = public.address_group(from_address);
  perform set_config('pgfleet.audited', pg_current_xact_id()::text, true);
  select k.key_id, k.expires_at into key_id, expires_at
  from public.insert_key(owner_id, new_hash, new_prefix, life_s, 'signed in', true) k;
  perform set_config('pgfleet.audited', '', true);
  return next;
end
$$;

revoke execute on function public.principal_of_key(text), public.password_of(text, text),
  public.principal_of_subject(text, text, text, boolean, text, text, text, text),
  public.signed_in(integer, text, text, text, text, double precision)
from public;
