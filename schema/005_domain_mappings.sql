-- 005: which name leads to which pod. Written by a trigger of reservations (117), in the commit that makes one active,
-- changes where it is, or ends it; read by whoever writes DNS, and by a proxy at every connection.

-- One row per subdomain. A name is free again when its reservation's row or its time is gone.
create table if not exists public.domain_mappings (
  domain_name varchar(255) primary key,
  node_ip varchar(50) not null,
  node_port integer not null check (node_port between 1 and 65535),
  reservation_id varchar(255) not null references public.reservations (reservation_id) on delete cascade,
  expires_at timestamptz,
  created_at timestamptz default now()
);

create index if not exists domain_mappings_reservation_idx on public.domain_mappings (reservation_id);
create index if not exists domain_mappings_expires_idx on public.domain_mappings (expires_at);
