-- 006: what a load balancer is to hold for a reservation. Rows are made and deleted by a trigger of reservations (117);
-- whoever makes the groups at AWS reads them, writes ARNs, and finds by tags what has no row any more.

-- One row per reservation and purpose. target_group_arn is null until AWS has answered, so that a group
-- made just before a crash is looked for by its name and not made twice.
create table if not exists public.alb_target_groups (
  reservation_id varchar(255) not null references public.reservations (reservation_id) on delete cascade,
  purpose text not null check (purpose in ('ssh', 'jupyter')),
  target_group_name varchar(32) unique not null,
  target_group_arn text unique,
  listener_rule_arn text unique,
  domain_name varchar(255),
  instance_id text,
  port integer check (port between 1 and 65535),
  created_at timestamptz default now(),
  expires_at timestamptz,
  primary key (reservation_id, purpose)
);
