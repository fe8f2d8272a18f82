-- 065: how many volumes AWS was asked for since a disk was attached, and has made none of them.

alter table public.disks add column if not exists volumes_failed integer not null default 0;
