-- 108: each request with an Idempotency-Key is done once (059). Members of pgfleet_api call begin_request before the write and
-- finish_request after it, in its transaction; both are about whom they speak for, and no other.

-- Whom the requests of this transaction are of. Called by begin_request and finish_request.
create or replace function public.asks_once() returns text
language plpgsql stable
as $$
declare
  who constant text := public.asking_claims() ->> 'sub';
begin
  if who is null or public.asking_role() = 'NODE' then
    raise exception 'requests are done once for somebody: say first for whom' using errcode = 'PF013';
  end if;
  return who;
end
$$;

-- Null for a request that is new: it may be done. Else what the first one with this key was answered; `is_same` says whether
-- it asked for the same. While another transaction does it, this one waits for it for a second (55P03).
create or replace function public.begin_request(key_hash text, endpoint text, asked_hash text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  who constant text := public.asks_once();
  known public.requests_answered;
begin
  -- Again where it was pruned between the two.
  loop
    insert into public.requests_answered (asked_by, key_hash, endpoint, asked_hash)
    values (who, begin_request.key_hash, begin_request.endpoint, begin_request.asked_hash)
    on conflict do nothing;
    if found then
      return null;
    end if;
    select * into known from public.requests_answered r where (r.asked_by, r.key_hash) = (who, begin_request.key_hash);
    exit when found;
  end loop;
  return jsonb_build_object(
    'is_same', known.asked_hash = begin_request.asked_hash and known.endpoint = begin_request.endpoint,
    'endpoint', known.endpoint, 'asked_at', known.asked_at, 'status', known.status, 'about', known.about,
    'location', known.location, 'body', known.body);
end
$$;

-- Keeps what a request that begin_request has let begin is answered, in the same transaction.
create or replace function public.finish_request(key_hash text, status integer, about text, location text, body text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  who constant text := public.asks_once();
begin
  update public.requests_answered r
  set (status, about, location, body)
    = row(finish_request.status, finish_request.about, finish_request.location, finish_request.body)
  where (r.asked_by, r.key_hash) = (who, finish_request.key_hash) and r.status is null;
end
$$;

revoke execute on function public.begin_request(text, text, text),
  public.finish_request(text, integer, text, text, text)
from public;
