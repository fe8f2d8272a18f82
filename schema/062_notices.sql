-- 062: what is told of rows besides their moves, and the moves of what has no machine of its own: dead letters (010), outages
-- (023), Hopsworks clusters (013) and the sweeps for silent nodes (020). All of it is in the history, and so in the feed of
-- events (057); 124 writes it.

-- What is told of a row that stays where it is, an event for which no move stands. Its entry in the history goes from the
-- state that the row is in to the same one, and has this word. Filled by the SQL file of the kind; the feed tells it in the
-- place of a state (events_since, 167).
create table if not exists public.notices (
  machine text not null,
  notice text not null check (notice ~ '^[a-z_]{1,60}$'),
  happens_when text not null,
  primary key (machine, notice)
);

alter table public.status_history add column if not exists notice text;

insert into public.notices (machine, notice, happens_when) values
  ('reservation', 'warned', 'it ends soon, or nobody uses its GPUs'),
  ('reservation', 'released', 'it has ended, and a person has let go of what it still held'),
  ('cluster', 'failover', 'it has another primary, none any more, or one again'),
  ('cluster', 'coordinator_changed', 'it has another coordinator, none any more, or one again')
on conflict (machine, notice) do update set happens_when = excluded.happens_when;

insert into public.moves (machine, from_status, to_status, happens_when) values
  ('dead_letter', '(new)', 'rejected', 'a message was its sender''s mistake'),
  ('dead_letter', '(new)', 'failed', 'a message was given up: ours to look at'),
  ('dead_letter', 'rejected', 'replayed', 'an operator has it sent again'),
  ('dead_letter', 'rejected', 'discarded', 'an operator says that nothing needs to be done'),
  ('dead_letter', 'failed', 'replayed', 'an operator has it sent again'),
  ('dead_letter', 'failed', 'discarded', 'an operator says that nothing needs to be done'),
  ('outage', '(new)', 'open', 'something outside does not answer: nobody calls it but a probe'),
  ('outage', 'open', 'over', 'it answers again: all that waited goes on'),
  ('sweep', '(new)', 'watching', 'the first sweep for silent nodes'),
  ('sweep', 'watching', 'held', 'nodes are silent, and for a reason are not marked offline'),
  ('sweep', 'held', 'watching', 'there is no such reason any more'),
  ('hopsworks_cluster', '(new)', 'active', 'it is registered'),
  ('hopsworks_cluster', '(new)', 'full', 'it is registered, without a free seat'),
  ('hopsworks_cluster', '(new)', 'maintenance', 'it is registered, and takes nobody yet'),
  ('hopsworks_cluster', '(new)', 'inactive', 'it is registered, and out of use'),
  ('hopsworks_cluster', 'active', 'full', 'its last seat was taken'),
  ('hopsworks_cluster', 'full', 'active', 'a seat is free'),
  ('hopsworks_cluster', 'active', 'maintenance', 'an operator lets nobody in'),
  ('hopsworks_cluster', 'full', 'maintenance', 'an operator lets nobody in'),
  ('hopsworks_cluster', 'inactive', 'maintenance', 'an operator takes it back, and lets nobody in'),
  ('hopsworks_cluster', 'active', 'inactive', 'an operator takes it out of use'),
  ('hopsworks_cluster', 'full', 'inactive', 'an operator takes it out of use'),
  ('hopsworks_cluster', 'maintenance', 'inactive', 'an operator takes it out of use'),
  ('hopsworks_cluster', 'maintenance', 'active', 'an operator lets users in'),
  ('hopsworks_cluster', 'maintenance', 'full', 'an operator lets users in, and it has no free seat'),
  ('hopsworks_cluster', 'inactive', 'active', 'an operator takes it back'),
  ('hopsworks_cluster', 'inactive', 'full', 'an operator takes it back, and it has no free seat')
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;
