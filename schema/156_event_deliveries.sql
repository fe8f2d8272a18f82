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

-- An address is there for as long as its subscription. A trigger of public.event_subscriptions.
create or replace function public.keep_event_target() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    update public.event_targets t set unused_since = null where t.subscription_id = new.subscription_id;
  else
    delete from public.event_targets t where t.subscription_id = old.subscription_id;
  end if;
  return null;
end
$$;
revoke execute on function public.keep_event_target() from public;

create or replace trigger keep_event_target after insert or delete on public.event_subscriptions
  for each row execute function public.keep_event_target();

-- A batch that is to be delivered, without its ticket: the sweep sends it again, and `pgfleet doctor` tells of it.
create or replace view public.forgotten_subscription as
select s.subscription_id::text as row_id, s.ticket::bigint as ticket, s.status_since as since,
  s.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
from public.event_subscriptions s
left join public.periodic p on p.name = 'event.sweep'
where s.status in ('active', 'failing') and s.batch_to is not null
  and not exists (
    select from pgmq.q_event_deliveries q
    where q.message ->> 'subscription_id' = s.subscription_id::text and q.message ->> 'ticket' = s.ticket::text);

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

-- Keeps where events of a subscription go that is about to be asked for, in the same transaction; its secret, which is told
-- this once. An id that is taken is PF015. Called by producers/event.py.
create or replace function public.place_subscription(of_id uuid, for_user text, to_url text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  made constant text := 'whsec_' || encode(
    sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64');
  feed constant record := public.feed_end();
begin
  perform public.must_place_for(for_user);
  insert into public.event_targets (subscription_id, placed_for, url, secret, begins_at)
  values (of_id, for_user, to_url, made, format('%s.%s.0', feed.timeline, feed.xact_id))
  on conflict (subscription_id) do nothing;
  if not found then
    raise exception 'subscription_id: % was used for something else', of_id
      using errcode = 'PF015', hint = 'Choose another id.';
  end if;
  return made;
end
$$;
revoke execute on function public.place_subscription(uuid, text, text) from public;

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
  ('user', 'function public.place_subscription(uuid, text, text)', 'execute'),
  ('sender', 'function public.place_subscription(uuid, text, text)', 'execute'),
  ('api', 'function public.place_subscription(uuid, text, text)', 'execute');
