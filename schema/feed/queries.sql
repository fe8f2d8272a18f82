-- How the feed of events is read (167).

-- name: end
-- The position of now.
select e.timeline, e.xact_id::text as xact_id from public.feed_end() e;

-- name: timeline
-- Which timeline this is; begins the next one, where the server is another one.
select public.note_timeline() as timeline;

-- name: since
-- The next events after a position; the last move that was looked at is there without its machine where it is not asked for.
select e.timeline, e.xact_id::text as xact_id, e.history_id, e.machine, e.row_id, e.from_status, e.to_status, e.reason,
  e.at, e.owner, e.shown
from public.events_since(:timeline::integer, :xact_id::xid8, :history_id::bigint, :most::integer,
  :machines::text[], :states::text[], :row_id::text, :of_user::text,
  :upto_timeline::integer, :upto_xact_id::xid8, :upto_history_id::bigint) e;

-- name: held
-- What holds the feed back, and for how long.
select h.held_s, h.pid, h.application, h.username, h.since, h.prepared from public.feed_held() h;

-- name: last_move
-- The number of a row's last move.
select public.last_move(:machine::text, :row_id::text) as history_id;

-- name: subscriptions
-- Subscriptions to events as people see them, the newest first: a user's, or everybody's.
select s.subscription_id::text as subscription_id, s.user_id, s.shown_url, s.format, s.machines, s.states, s.of_user, s.row_id,
  s.status, s.status_reason, s.status_since, s.failing_since, s.last_delivered_at, s.last_answer, s.detail, s.delivered_to,
  s.batch_to, s.created_at
from public.event_subscriptions s
where (:user_id::text is null or s.user_id = :user_id) and s.subscription_id::text like :begins::text || '%'
order by s.created_at desc, s.subscription_id;
