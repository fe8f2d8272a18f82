-- 052: whether a GPU type has the GPUs that its ready nodes have, or as many as the operator says (004). Written by operators
-- with `pgfleet types set`; the look at nodes keeps the total then (176).

alter table public.gpu_types
  add column if not exists follows_nodes boolean not null default false;
