-- 156: the queue and the machine of subscriptions to events (060): who may see what, where they go, and what a dead letter
-- comes back as.

select public.create_fleet_queue('event_deliveries', array[
  'subscribe', 'unsubscribe', 'resume', 'test', 'send_again']);
select public.guard_machine('public.event_subscriptions', 'subscription', 'subscription_id');

-- Who looks for a subscription's messages: the wake-up of each page of events, and the sweep.
create index if not exists q_event_deliveries_subscription_idx
  on pgmq.q_event_deliveries ((message ->> 'subscription_id'));

create or replace trigger note_status_since before update of status on public.event_subscriptions
  for each row when (old.status is distinct from new.status)
  execute function public.note_status_since();

-- A batch that is to be delivered, without its ticket, and a subscription that is to be checked, without its message: the
-- sweep sends a ticket, and `pgfleet doctor` tells of it.
create or replace view public.forgotten_subscription as
select s.subscription_id::text as row_id, s.ticket::bigint as ticket, s.status_since as since,
  s.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
from public.event_subscriptions s
left join public.periodic p on p.name = 'event.sweep'
where s.status in ('active', 'failing') and s.batch_to is not null
    and not exists (
      select from pgmq.q_event_deliveries q
      where q.message ->> 'subscription_id' = s.subscription_id::text and q.message ->> 'ticket' = s.ticket::text)
  or s.status = 'pending' and s.status_since < public.fleet_now() - interval '10 seconds'
    and not exists (
      select from pgmq.q_event_deliveries q where q.message ->> 'subscription_id' = s.subscription_id::text);

-- In which role a user sees events, now: an account's, else a USER's; null for an account, or a name, that is not active.
-- Called by the event worker.
create or replace function public.role_for_events(of_user text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select case
    when p.user_id is null then 'USER'
    when not p.is_active or u.id is not null and not u.is_active then null
    when u.role in ('DEVOPS', 'ADMIN') then u.role::text
    else 'USER' end
  from (select of_user as name) n
  left join public.api_users p on p.username = n.name
  left join autoscaler.users u on u.id = p.account_id
$$;
revoke execute on function public.role_for_events(text) from public;

-- What of an address may be shown: its host, and the first letters of its path. Called by insert_placed_subscription.
create or replace function public.shown_url(url text) returns text
language sql immutable
as $$
  select left(coalesce(
    lower(coalesce(parts[1], parts[2])) || left(parts[3], 12) || case when length(parts[3]) > 12 then '...' else '' end,
    '?'), 80)
  from (select) one
  left join regexp_match(url, '^https?://(?:[^/?#@]*@)?(?:\[([^]]*)\]|([^:/?#]*))(?::\d*)?([^?#]*)', 'i') parts on true
$$;

-- Inserts a subscription as `pending`, with where its events go; its secret, which is told this once. What is committed from
-- now on is told. Whoever asks for another's needs a role that may (PF013); an id that is taken is PF015. Called by
-- place_subscription.
create or replace function public.insert_placed_subscription(message jsonb, to_url text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  asked_id constant uuid := (message ->> 'subscription_id')::uuid;
  asked_by constant text := message ->> 'user_id';
  made constant text := 'whsec_' || encode(
    sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64');
  feed constant record := public.feed_end();
  reason_before constant text := coalesce(current_setting('pgfleet.reason', true), '');
  field text;
  is_new boolean;
begin
  perform public.must_place_for(asked_by);
  if public.asking_role() is null and not public.is_owner() and asked_by is distinct from public.request_user()
    and not coalesce(pg_has_role(session_user, to_regrole('pgfleet_sender')::oid, 'member'), false)
  then
    raise exception '% may not ask for %', session_user, left(asked_by, 60) using errcode = 'PF013';
  end if;
  if octet_length(message::text) > 16384 then
    perform public.refuse_value('a subscription', 'so large', 'at most 16 KiB of JSON');
  end if;
  foreach field in array '{machines,states}'::text[] loop
    if jsonb_typeof(message -> field) <> 'null' and not coalesce(
      jsonb_typeof(message -> field) = 'array' and not message -> field @? '$[*] ? (@.type() != "string")', false)
    then
      perform public.refuse_value(field, left((message -> field)::text, 60), 'a list of words');
    end if;
  end loop;
  -- For the history, where a login asks for itself.
  perform set_config('pgfleet.reason', 'asked for', true);
  insert into public.event_subscriptions (subscription_id, user_id, shown_url, format, machines, states, of_user, row_id,
    delivered_to, status, status_reason)
  values (asked_id, asked_by, public.shown_url(to_url), coalesce(message ->> 'format', 'cloudevents'),
    nullif(message -> 'machines', 'null'), nullif(message -> 'states', 'null'), message ->> 'of_user', message ->> 'row_id',
    format('%s.%s.0', feed.timeline, feed.xact_id), 'pending', 'asked for')
  on conflict (subscription_id) do nothing;
  is_new := found;
  perform set_config('pgfleet.reason', reason_before, true);
  if not is_new then
    raise exception 'subscription_id: % was used for something else', asked_id
      using errcode = 'PF015', hint = 'Choose another id.';
  end if;
  insert into public.event_targets (subscription_id, url, secret) values (asked_id, to_url, made);
  return made;
end
$$;
revoke execute on function public.insert_placed_subscription(jsonb, text) from public;

-- Asks for a subscription: `{"action": "subscribe", "subscription_id": ..., "user_id": ..., ...}` and the address, which is in
-- no message; its secret. Called by producers/event.py, and by services in any language.
create or replace function public.place_subscription(message jsonb, to_url text, headers jsonb default '{}') returns text
language plpgsql
as $$
declare
  made constant text := public.insert_placed_subscription(message, to_url);
begin
  perform pgmq.send('event_deliveries', message, headers);
  return made;
end
$$;

-- For how many seconds the oldest event waits of those that are being delivered; 0 where none waits. It may be that of a
-- move before it which the subscription does not want. The metric; read by the event worker.
create or replace function public.events_undelivered_s() returns double precision
language sql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_bitmapscan = off
as $$
  select coalesce(max(extract(epoch from public.fleet_now() - f.at)), 0)::double precision
  from public.event_subscriptions s
  cross join lateral (
    select h.at from public.status_history h
    where h.timeline > 0 and (h.timeline, h.xact_id, h.history_id) > (
      split_part(s.delivered_to, '.', 1)::integer, split_part(s.delivered_to, '.', 2)::xid8,
      split_part(s.delivered_to, '.', 3)::bigint)
    order by h.timeline, h.xact_id, h.history_id limit 1) f
  where s.status in ('active', 'failing') and s.batch_to is not null
$$;
revoke execute on function public.events_undelivered_s() from public;

-- A batch that nobody took for a day is sent once more, by itself (159). What was done; null where the letter is no batch.
-- Called by answer_letter.
create or replace function public.revive_event_deliveries(letter public.dead_letters) returns text
language plpgsql
as $$
begin
  if letter.message ->> 'action' is distinct from 'deliver' then
    return null;
  end if;
  if not letter.message ?& '{after,to}'::text[] then
    raise exception 'Dead letter % does not say which events it was about.', letter.dead_letter_id
      using errcode = 'PF006', hint = 'Send again from a position: pgfleet subscriptions again.';
  end if;
  perform pgmq.send('event_deliveries', jsonb_build_object('action', 'redeliver',
    'subscription_id', letter.message ->> 'subscription_id', 'after', letter.message ->> 'after',
    'to', letter.message ->> 'to'));
  return format('the events after %s up to %s are sent once more', letter.message ->> 'after', letter.message ->> 'to');
end
$$;

-- The machines that there are, the states that their rows move to, and what else is told of them. Called by
-- schema/feed/queries.sql.
create or replace function public.event_types() returns table (machine text, state text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select m.machine, m.to_status from public.moves m union select n.machine, n.notice from public.notices n $$;
revoke execute on function public.event_types() from public;

-- What the worker of this kind reads and writes, and who sends to it (163).
create or replace view public.rights_of_event (who, thing, may) as values
  ('worker', 'pgmq.q_event_deliveries', 'work'),
  ('user', 'pgmq.q_event_deliveries', 'send'),
  ('sender', 'pgmq.q_event_deliveries', 'send'),
  ('api', 'pgmq.q_event_deliveries', 'send'),
  ('worker', 'public.event_subscriptions', 'select, insert, update'),
  ('worker', 'public.event_targets', 'select'),
  ('worker', 'public.forgotten_subscription', 'select'),
  ('worker', 'function public.role_for_events(text)', 'execute'),
  ('worker', 'function public.feed_end()', 'execute'),
  ('worker', 'function public.note_timeline()', 'execute'),
  ('worker', 'function public.events_undelivered_s()', 'execute'),
  ('worker', 'function public.events_since(integer, xid8, bigint, integer, text[], text[], text, text, integer, xid8, bigint)',
    'execute'),
  ('worker', 'function public.event_types()', 'execute'),
  ('user', 'function public.event_types()', 'execute'),
  ('sender', 'function public.event_types()', 'execute'),
  ('api', 'function public.event_types()', 'execute'),
  ('user', 'function public.heard_from()', 'execute'),
  ('user', 'function public.moves_after(text, integer)', 'execute'),
  ('api', 'function public.heard_from()', 'execute'),
  ('api', 'function public.moves_after(text, integer)', 'execute'),
  ('monitor', 'function public.heard_from()', 'execute'),
  ('monitor', 'function public.moves_after(text, integer)', 'execute'),
  ('user', 'function public.insert_placed_subscription(jsonb, text)', 'execute'),
  ('sender', 'function public.insert_placed_subscription(jsonb, text)', 'execute'),
  ('api', 'function public.insert_placed_subscription(jsonb, text)', 'execute');
