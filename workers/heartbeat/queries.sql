-- What the heartbeat worker asks of the database: the functions that take heartbeats, and the sweeps over nodes.

-- name: take_autoscaler
-- Writes the heartbeats of nodes; the place, verdict and reason of those that need a word.
select place, verdict, reason from autoscaler.take_heartbeats(:heartbeats::jsonb, :skip_held::boolean);

-- name: take_cluster
-- The same of nodes of clusters.
select place, verdict, reason from clusters.take_heartbeats(:heartbeats::jsonb, :skip_held::boolean);

-- name: sweep_nodes
-- Marks silent nodes offline, and says what it saw.
select * from autoscaler.sweep_offline(:silence::interval, :most_share);

-- name: sweep_cluster_nodes
-- The same of nodes of clusters, whose interval is each cluster's own.
select * from clusters.sweep_offline(:intervals, :most_share, :skip_held::boolean);

-- name: roll_up
-- Writes the minute's analytics.
select autoscaler.roll_up();

-- name: apply_schedules
-- Writes what schedules ask of pools now.
select autoscaler.apply_schedules();
