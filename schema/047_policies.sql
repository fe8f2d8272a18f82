-- 047: how much one user may have (policies). Written by operators with `pgfleet policy`, audited; read by policies_of (116),
-- and so by workers before they make rows, by the trigger when they do, and by the dry run.

insert into public.limits (name, counts) values
  ('reservations', 'reservations that wait or run'),
  ('gpus', 'GPUs that wait or run'),
  ('hours', 'hours for one reservation'),
  ('hours_week', 'hours of reservations in seven days'),
  ('images', 'images'),
  ('idle_minutes', 'minutes without use of its GPUs'),
  ('disks', 'disks'),
  ('disk_gb', 'GB of disks'),
  ('disk_operations', 'operations on disks that are not over'),
  ('disk_snapshots', 'snapshots that were asked for')
on conflict (name) do update set counts = excluded.counts;

-- A limit of each user, of each member of a team, or of everybody; of those that there are for somebody the narrowest
-- counts, for each limit alone. What nothing is said about is not limited. A team is called by the id of its owner
-- (hopsworks.users.account_owner_id), who belongs to it.
create table if not exists public.policies (
  applies_to text not null check (
    applies_to in ('everybody', 'team', 'user')
    or public.refuse_value('applies_to', applies_to, 'everybody, team or user')),
  -- The user's name, or the team's; nothing for everybody.
  subject text not null default '' check (
    (subject = '') = (applies_to = 'everybody') and length(subject) <= 255
    or public.refuse_value('subject', left(subject, 60), 'a user or a team; nothing for everybody')),
  limit_name text not null references public.limits (name),
  -- Of GPUs the type; nothing for each type that no other row names.
  gpu_type text not null default '' check (
    gpu_type = '' or limit_name = 'gpus'
    or public.refuse_value('gpu_type', left(gpu_type, 60), 'nothing: only gpus are limited by their type')),
  -- How much; without it, and without patterns, there is no limit for whom it is for.
  most double precision check (
    most is null
    -- Not `between`: what a restored dump makes of it within an `and` is written otherwise.
    or most >= 0 and most <= 1e9 and (most = floor(most) or limit_name in ('hours', 'hours_week')) and limit_name <> 'images'
    or public.refuse_value('most', most::text, 'a number from 0 on; of images, patterns')),
  -- Of images: those allowed, `*` for anything.
  patterns text[] check (
    patterns is null or limit_name = 'images' and cardinality(patterns) >= 1 and cardinality(patterns) <= 100
    or public.refuse_value('patterns', left(patterns::text, 60), '1 to 100 patterns of images')),
  set_by text not null default session_user,
  set_at timestamptz not null default public.fleet_now(),
  primary key (applies_to, subject, limit_name, gpu_type)
);

-- What is sane until an operator says otherwise: who has said something already keeps it.
insert into public.policies (applies_to, limit_name, most, set_by) values
  ('everybody', 'reservations', 200, 'pgfleet'),
  ('everybody', 'disks', 50, 'pgfleet'),
  ('everybody', 'disk_gb', 50000, 'pgfleet'),
  ('everybody', 'disk_operations', 100, 'pgfleet'),
  -- Of which an account at AWS may have so many. Those that end an attachment are never refused.
  ('everybody', 'disk_snapshots', 300, 'pgfleet')
on conflict (applies_to, subject, limit_name, gpu_type) do nothing;
