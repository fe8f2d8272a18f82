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

-- name: types
-- The machines that there are, the states that their rows move to, and what else is told of them.
select t.machine, t.state from public.event_types() t;
