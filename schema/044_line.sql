-- 044: what the order of a line (177) needs: when a booked reservation may start, when one was admitted and to which node
-- it is kept, and what the operator sets.

alter table public.reservations
  -- Booked for then: it waits until then, and from then on its GPUs are kept free.
  add column if not exists start_at timestamptz,
  -- When it was let in last: from then until launched_at its pod was prepared.
  add column if not exists admitted_at timestamptz,
  -- The node that its pod is for: on another it would take what is promised to somebody.
  add column if not exists kept_to_node text,
  -- When it starts at the latest, and on which nodes, as the last look at the line has it.
  add column if not exists promised_at timestamptz,
  add column if not exists promised_nodes jsonb;

create index if not exists reservations_booked_idx
  on public.reservations (gpu_type, start_at) where start_at is not null and status in ('pending', 'queued');
-- How long preparing and teardown take is measured on the last of these; fair share asks for those of a day.
create index if not exists reservations_gone_idx
  on public.reservations (gpu_type, reservation_ended)
  where reservation_ended is not null and launched_at is not null;

-- How lines are ordered: one row, the operator's to change; the next look at a line goes by it. Read by
-- fronts_of_lines (177), workers, and whoever is told where they stand.
create table if not exists public.line_settings (
  only_one boolean primary key default true check (only_one),
  -- Whether who has had more GPUs in the last 24 hours stands further behind.
  fair_share boolean not null default false,
  -- Who has waited for so long is ahead of all that have not, and nobody passes them.
  starving_after interval not null default '24 hours' check (
    starving_after > interval '0' is not false
    or public.refuse_value('starving_after', starving_after::text, 'more than 0')),
  -- Whether an extension may move the start that was promised to somebody; they are told.
  extensions_win boolean not null default false
);
insert into public.line_settings default values on conflict do nothing;
