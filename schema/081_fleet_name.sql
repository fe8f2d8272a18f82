-- 081: the name of this fleet, where several, each with a database of its own, share an account of AWS or a cluster of
-- Kubernetes. What a fleet makes there has its name, and by that it is found again.

-- One row, from the first worker on, which brings the name in its settings; an empty one is that of a fleet without.
-- Written by note_fleet (193). Whoever renames the fleet does so here, as its owner: it is refused while anything is
-- outside, as that would be nobody's. Read by workers at their start, and by the timeline.
create table if not exists public.fleet_name (
  only_one boolean primary key default true check (only_one),
  name text not null check (name ~ '^([a-z]([a-z0-9-]{0,14}[a-z0-9])?)?$'),
  since timestamptz not null default public.fleet_now()
);
