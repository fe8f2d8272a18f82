-- 032: what keep_house (103) could not tidy, and why, since when. One table's trouble is its own: the others have their
-- turn. Told by the doctor and in a worker's log.

alter table public.retention
  add column if not exists problem text,
  add column if not exists problem_since timestamptz;
