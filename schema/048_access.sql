-- 048: the ways into a reservation beside SSH of its own user, and how its pod ended. Written by the reservation worker.

alter table public.reservations
  -- In which start of which pod Jupyter was started last, or could not be: another start is another try.
  add column if not exists jupyter_in text,
  -- How the pod's container ended, where it did by itself: what a shell would say of it, and the kubelet's word.
  add column if not exists exit_code integer,
  add column if not exists exit_reason text;
