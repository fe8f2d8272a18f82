-- 045: gangs: reservations of several nodes. Each node is a row of public.reservations (002): master_reservation_id is the
-- id of node 0, node_index counts from 0, total_nodes is on each. What moves one of them moves all, in one commit (199).

alter table public.reservations
  -- Labels that a node must have for any pod of the gang: its zone, and where it is set up its place in the network.
  -- Written by the worker when the gang prepares, on all rows at once; null until then, and again in the line.
  add column if not exists placement jsonb check (
    jsonb_typeof(placement) = 'object' is not false
    or public.refuse_value('placement', left(placement::text, 60), 'an object'));
