-- 064: what became of nodes is kept for as long as the history that says the same of each move.

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('autoscaler.node_lifecycle_logs', 'timestamp', '400 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
