-- What the event worker asks of the database.

-- name: now
-- The time of the fleet.
select public.fleet_now();

-- name: targets
-- Where events of some subscriptions go, with the secret.
select t.subscription_id, t.url, t.secret
from public.event_targets t where t.subscription_id = any (:ids::uuid[]);

-- name: roles
-- In which role some users see events; null for one that sees none.
select u.name, public.role_for_events(u.name) as role from unnest(:users::text[]) u (name);

-- name: counted
-- How many subscriptions some users have that are not off.
select s.user_id, count(*) from public.event_subscriptions s
where s.user_id = any (:users::text[]) and s.status in ('active', 'failing') group by s.user_id;

-- name: idle
-- Subscriptions that deliver nothing at present: where there are more, others the next time.
select s.subscription_id::text from public.event_subscriptions s
where s.status in ('active', 'failing') and s.batch_to is null
order by random() limit :most;

-- name: look_around
-- Asks whoever is free to look for events that nobody was woken for.
select pgmq.send('event_deliveries', '{"action": "look_around"}');

-- name: undelivered
-- For how many seconds the oldest event waits that is being delivered.
select public.events_undelivered_s();

-- name: ring
-- Rings for those who listen at the database (109), now that the feed shows what has moved.
select public.notify_workers('pgfleet_events');

-- name: wake
-- Sends a look to each subscription that delivers nothing and wants one of these events, unless one waits already that
-- nobody has begun with: whoever begins with that will see the events. How many.
with events as (
  select * from unnest(:machines::text[], :states::text[], :row_ids::text[], :owners::text[]) e (machine, state, row_id, owner)
), awaited as (
  select s.subscription_id
  from public.event_subscriptions s
  cross join lateral (select public.role_for_events(s.user_id) in ('DEVOPS', 'ADMIN') as sees_all offset 0) r
  where s.status in ('active', 'failing') and s.batch_to is null
    and exists (
      select from events e
      where (s.machines is null or s.machines ? e.machine) and (s.states is null or s.states ? e.state)
        and (s.row_id is null or e.row_id = s.row_id) and (s.of_user is null or e.owner = s.of_user)
        and (e.owner = s.user_id or r.sees_all))
    and not exists (
      select from pgmq.q_event_deliveries q
      where q.message ->> 'subscription_id' = s.subscription_id::text and q.message ->> 'action' = 'look'
        and q.vt <= public.fleet_now())
)
select count(*) from awaited a, pgmq.send('event_deliveries', jsonb_build_object(
  'action', 'look', 'subscription_id', a.subscription_id));
