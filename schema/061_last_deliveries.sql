-- 061: what became of the last deliveries of each subscription (060), for people: when, how many events, how often tried, what
-- was answered. No event, no address and no secret is in it. Written by triggers (113), when the worker writes the subscription.

-- How many deliveries a subscription has had: the number of the last one.
alter table public.event_subscriptions
  add column if not exists deliveries bigint not null default 0;

-- The last hundred of each subscription: a delivery takes the place of the hundredth before it, so nothing has to be pruned.
create table if not exists public.event_deliveries (
  subscription_id uuid not null references public.event_subscriptions on delete cascade,
  place integer not null,
  number bigint not null,
  user_id text not null,
  -- The events after the one position up to the other.
  after_position text not null,
  to_position text not null,
  events integer,
  result text not null default 'waiting' check (
    result in ('waiting', 'failing', 'delivered', 'given up', 'passed over', 'stopped')),
  tries integer not null default 0,
  -- A status code, or words of ours.
  answer text,
  begun_at timestamptz not null default public.fleet_now(),
  next_try_at timestamptz,
  ended_at timestamptz,
  -- Of one that was given up; an operator can have it sent once more.
  dead_letter_id bigint,
  primary key (subscription_id, place)
) with (fillfactor = 70);
create index if not exists event_deliveries_begun_idx on public.event_deliveries (user_id, begun_at);

comment on column public.event_deliveries.user_id is 'The user whose row it is';
