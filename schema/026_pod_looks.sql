-- 026: what a worker remembers of a reservation's pod between two looks. All times are the database's at a look of ours:
-- those of a kubelet or of an API server are on other clocks. Written by the steps in workers/reservation/.

alter table public.reservations
  -- The pod that all of this is about; of another pod nothing is remembered.
  add column if not exists pod_uid text,
  -- What the last look saw of it (workers/reservation/pod/looks.py), and since when looks have seen that.
  add column if not exists pod_state text,
  add column if not exists pod_state_since timestamptz,
  -- When a look first saw it on a node, and its containers running.
  add column if not exists pod_placed_at timestamptz,
  add column if not exists pod_running_at timestamptz,
  add column if not exists pod_node text,
  -- Why it is lost, as the last look saw it: what deletes a pod can't be read from one that is gone.
  add column if not exists pod_lost text,
  -- Nodes that gave its pod back before it ran: [{"node", "at", "why"}], newest last.
  add column if not exists refusals jsonb not null default '[]';
