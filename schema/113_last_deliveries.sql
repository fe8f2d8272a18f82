-- 113: keeps the last deliveries of subscriptions (061) as the event worker moves their batches.

-- A batch that is begun is a delivery; each try changes it, and its end. A trigger of public.event_subscriptions.
create or replace function public.note_delivery() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  is_taken constant boolean := new.last_delivered_at is distinct from old.last_delivered_at;
begin
  if old.batch_to is not null and new.batch_to is distinct from old.batch_to then
    update public.event_deliveries d
    set result = case when is_taken then 'delivered' when d.dead_letter_id is not null then 'given up'
        when new.delivered_to = old.batch_to then 'passed over' else 'stopped' end,
      tries = d.tries + (is_taken or new.last_answer is distinct from old.last_answer)::integer,
      answer = case when is_taken or d.tries > 0 or new.last_answer is distinct from old.last_answer then new.last_answer end,
      next_try_at = null, ended_at = public.fleet_now()
    where d.subscription_id = new.subscription_id and d.place = new.deliveries % 100;
  elsif new.batch_to is not null and new.batch_failures > old.batch_failures then
    update public.event_deliveries d
    set result = 'failing', tries = new.batch_failures, answer = new.last_answer, next_try_at = new.next_try_at
    where d.subscription_id = new.subscription_id and d.place = new.deliveries % 100;
  end if;
  if new.batch_to is not null and new.batch_to is distinct from old.batch_to then
    new.deliveries := new.deliveries + 1;
    insert into public.event_deliveries as d
      (subscription_id, place, number, user_id, after_position, to_position, events)
    values (new.subscription_id, new.deliveries % 100, new.deliveries, new.user_id, new.delivered_to, new.batch_to,
      new.batch_events)
    on conflict (subscription_id, place) do update set
      number = excluded.number, after_position = excluded.after_position, to_position = excluded.to_position,
      events = excluded.events, result = excluded.result, tries = excluded.tries, answer = null,
      begun_at = excluded.begun_at, next_try_at = null, ended_at = null, dead_letter_id = null;
  end if;
  return new;
end
$$;
revoke execute on function public.note_delivery() from public;

create or replace trigger note_delivery before update on public.event_subscriptions
  for each row when (old.batch_to is distinct from new.batch_to or old.batch_failures is distinct from new.batch_failures)
  execute function public.note_delivery();

-- A batch that nobody took for a day is a dead letter, in the transaction that goes past it. A trigger of public.dead_letters.
create or replace function public.note_delivery_given_up() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update public.event_deliveries d
  set result = 'given up', dead_letter_id = new.dead_letter_id, next_try_at = null
  where d.to_position = new.message ->> 'to' and d.subscription_id = case
    when new.message ->> 'subscription_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      then (new.message ->> 'subscription_id')::uuid end;
  return null;
end
$$;
revoke execute on function public.note_delivery_given_up() from public;

create or replace trigger note_delivery_given_up after insert on public.dead_letters
  for each row when (new.queue = 'event_deliveries' and new.message ->> 'action' = 'deliver')
  execute function public.note_delivery_given_up();
