-- 036: whose fault a dead letter is.

-- Written by the settler, once. A rejection is its sender's mistake: a field that is wrong, a row that is not known or
-- not theirs. A failure is ours, and a matter for whoever runs the fleet. Letters of before count as failures.
alter table public.dead_letters add column if not exists verdict text not null default 'failure' check (
  verdict in ('rejection', 'failure') is not false
  or public.refuse_value('verdict', verdict, 'rejection or failure'));

create index if not exists dead_letters_row_idx on public.dead_letters (row_id text_pattern_ops);

-- For pages of them, the newest first, and for how many of each verdict are open.
create index if not exists dead_letters_died_idx on public.dead_letters (died_at, dead_letter_id);
create index if not exists dead_letters_verdict_idx on public.dead_letters (queue, verdict) where answered_at is null;
