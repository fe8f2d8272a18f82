-- 060: subscriptions to the feed of events (057), and the moves of their machine. A row is placed with its message, by
-- place_subscription (156), and from then on written by the event worker.
--
--   (new) --> pending --> active <--> failing --> off        active --> off --> active
--                `--> off
--
-- Positions are as the feed has them in words: `<timeline>.<xact_id>.<history_id>`.

-- Who is told of which events, and up to where it was. A null filter stands for all.
create table if not exists public.event_subscriptions (
  subscription_id uuid primary key,
  user_id text not null,
  -- The beginning of its address; what is secret about one is in its path and query.
  shown_url text not null,
  format text not null check (format in ('cloudevents', 'slack', 'teams')),
  -- Arrays of words.
  machines jsonb,
  states jsonb,
  of_user text,
  row_id text,
  -- What has come before it was delivered, or did not match.
  delivered_to text not null check (delivered_to ~ '^\d+\.\d+\.\d+$'),
  -- The end of the batch that is being delivered: as long as it is there, the batch is the same.
  batch_to text check (batch_to ~ '^\d+\.\d+\.\d+$'),
  -- How many events were in it when it was made.
  batch_events integer,
  batch_failures integer not null default 0,
  batch_failing_since timestamptz,
  next_try_at timestamptz,
  failing_since timestamptz,
  last_delivered_at timestamptz,
  -- A status code, or words of ours; never what the other side wrote.
  last_answer text,
  detail text,
  status text not null check (status in ('pending', 'active', 'failing', 'off')),
  status_reason text,
  status_msg_id bigint,
  status_since timestamptz not null default public.fleet_now(),
  -- The number of the row's one live ticket: an older ticket is stale and does nothing.
  ticket integer not null default 0,
  created_at timestamptz not null default public.fleet_now()
);
create index if not exists event_subscriptions_live_idx on public.event_subscriptions (user_id)
  where status in ('active', 'failing');
create index if not exists event_subscriptions_since_idx on public.event_subscriptions (status_since);

create index if not exists event_subscriptions_created_idx on public.event_subscriptions (created_at);

comment on column public.event_subscriptions.user_id is 'The user whose row it is';

-- Where events go: the address and the secret, either of which lets in whoever knows it. Nobody but the event worker reads
-- them, and no message holds them.
create table if not exists public.event_targets (
  subscription_id uuid primary key references public.event_subscriptions on delete cascade,
  url text not null check (
    length(url) <= 2048
    or public.refuse_value('the address of a subscription', left(url, 20) || '...', 'text of at most 2048 letters')),
  -- `whsec_` and base64, as Standard Webhooks has it.
  secret text not null
);

insert into public.moves (machine, from_status, to_status, happens_when) values
  ('subscription', '(new)', 'pending', 'its user has asked for it'),
  ('subscription', 'pending', 'active', 'events may be sent there'),
  ('subscription', 'pending', 'off', 'it can''t be done, or its user has ended it; the reason says which'),
  ('subscription', 'active', 'failing', 'a batch was not taken; the reason says what was answered'),
  ('subscription', 'failing', 'active', 'a batch was taken'),
  ('subscription', 'failing', 'off', 'it was failing for three days, answered 410, or its user has ended it'),
  ('subscription', 'active', 'off', 'its user has ended it, or it answered 410'),
  ('subscription', 'off', 'active', 'its user wants events again')
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;

insert into public.periodic (name, queue, message, every) values
  ('event.sweep', 'event_deliveries', '{"action": "sweep"}', '60 seconds'),
  ('event.look', 'event_deliveries', '{"action": "look_around"}', '300 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.event_subscriptions', 'status_since', '90 days', false, 'status = ''off''')
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
