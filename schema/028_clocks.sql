-- 028: what is remembered of a node's clock, so that it is compared with nothing but itself. When a heartbeat was heard
-- (heard_at) is when it was enqueued, by the database's clock; sent_at is what the node says, by its own.
--
--   last_heartbeat (015, 016)         when the queue heard the node last: the only time that tells whether it is alive.
--   report_sent_at, report_heard_at   the heartbeat that its status, metrics and pools are from: by the node's clock,
--                                     which orders heartbeats of one node, and by ours, which tells an old heartbeat
--                                     that came late from a clock that was put back (public.order_heartbeats, in 141).
--   skews                             heard_at less sent_at in seconds, of the last ten heartbeats, the newest first.
--                                     The least is the skew: what a message waits on its way only adds to it. Above 0
--                                     the node's clock is behind ours.
--
-- autoscaler.node_heartbeats.timestamp is when a heartbeat was heard, from here on. Written by the functions of 142 and
-- 143.

alter table autoscaler.nodes
  add column if not exists report_sent_at timestamptz,
  add column if not exists report_heard_at timestamptz,
  add column if not exists skews real[] not null default '{}';

alter table clusters.cluster_nodes
  add column if not exists report_sent_at timestamptz,
  add column if not exists report_heard_at timestamptz,
  add column if not exists skews real[] not null default '{}';

-- turn: 1 for the heartbeat that its node's status is from, 2 for the one before it; null for an old one that
-- came late, which is history.
do $$
begin
  if not exists (
    select from pg_attribute where attrelid = 'autoscaler.heartbeat'::regclass and attname = 'heard_at') then
    alter type autoscaler.heartbeat add attribute heard_at timestamptz, add attribute turn integer;
  end if;
  if not exists (
    select from pg_attribute where attrelid = 'clusters.heartbeat'::regclass and attname = 'heard_at') then
    alter type clusters.heartbeat add attribute heard_at timestamptz, add attribute turn integer;
  end if;
end
$$;
