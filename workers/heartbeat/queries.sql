-- What the heartbeat worker asks of the database: the functions that take heartbeats, and the sweeps over nodes.

-- name: take_autoscaler
-- Writes the heartbeats of nodes; the place, verdict and reason of those that need a word.
select place, verdict, reason
from autoscaler.take_heartbeats(:heartbeats::jsonb, :skip_held::boolean, :heard::timestamptz[], :silence::interval);

-- name: take_cluster
-- The same of nodes of clusters.
select place, verdict, reason
from clusters.take_heartbeats(:heartbeats::jsonb, :skip_held::boolean, :heard::timestamptz[], :intervals);

-- name: sweep_nodes
-- Marks silent nodes offline, and says what it saw.
select machine, swept_at, alive, silent, marked, held_back, held_back_since, believed_at, belief
from autoscaler.sweep_offline(:silence::interval, :most_share, null, :proven::text[]);

-- name: sweep_cluster_nodes
-- The same of nodes of clusters, whose interval is each cluster's own.
select machine, swept_at, alive, silent, marked, held_back, held_back_since, believed_at, belief
from clusters.sweep_offline(:intervals, :most_share, :skip_held::boolean, null, :proven::text[]);

-- name: roll_up
-- Writes the minute's analytics.
select autoscaler.roll_up();

-- name: apply_schedules
-- Writes what schedules ask of pools now.
select autoscaler.apply_schedules();
