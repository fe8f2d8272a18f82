-- 055: that what may move promised starts is checked one after the other, and when Jupyter was looked at.

alter table public.gpu_types
  -- When a booking or an extension was last let in. Written by the reservation worker in the commit that does so: of two
  -- that were checked at once, the second finds the row changed and is checked again.
  add column if not exists promises_checked_at timestamptz;

alter table public.reservations
  -- When it was last seen whether Jupyter runs in the pod. Written by the reservation worker.
  add column if not exists jupyter_looked_at timestamptz;
