-- 014: what users have used and what it costs (document 001). Written by the assignment worker once a day and user, and
-- by the payment service (user_credits.total_purchased, billing_history); read by people and invoices.

-- Money per unit of use; operators change a price, the fixture never does.
create table if not exists hopsworks.billing_rates (
  resource text primary key check (
    (resource in ('seat_day', 'cpu_hour', 'gpu_hour', 'storage_gb_month', 'api_call')) is not false
      or public.refuse_value('a billed resource', resource,
        'one of seat_day, cpu_hour, gpu_hour, storage_gb_month, api_call')),
  price numeric not null check (
    price >= 0 is not false or public.refuse_value('a price', price::text, 'at least 0')),
  currency text not null default 'USD',
  description text,
  updated_at timestamptz not null default now()
);

-- One row per user and day, so that no day is charged twice.
create table if not exists hopsworks.usage_daily (
  id uuid primary key default gen_random_uuid(),
  user_id text references hopsworks.users (id),
  date date not null,
  cpu_hours numeric default 0 check (
    cpu_hours >= 0 is not false or public.refuse_value('cpu_hours', cpu_hours::text, 'at least 0')),
  gpu_hours numeric default 0 check (
    gpu_hours >= 0 is not false or public.refuse_value('gpu_hours', gpu_hours::text, 'at least 0')),
  storage_gb_months numeric default 0 check (
    storage_gb_months >= 0 is not false
      or public.refuse_value('storage_gb_months', storage_gb_months::text, 'at least 0')),
  api_calls integer default 0 check (
    api_calls >= 0 is not false or public.refuse_value('api_calls', api_calls::text, 'at least 0')),
  total_cost numeric default 0 check (
    total_cost >= 0 is not false or public.refuse_value('total_cost', total_cost::text, 'at least 0')),
  hopsworks_cluster_id uuid references hopsworks.hopsworks_clusters (id),
  created_at timestamptz default now()
);

create unique index if not exists idx_usage_daily_user_date on hopsworks.usage_daily (user_id, date);
create index if not exists usage_daily_cluster_idx on hopsworks.usage_daily (hopsworks_cluster_id);

-- One row per user: what was bought and what has been used of it since the beginning.
create table if not exists hopsworks.user_credits (
  user_id text primary key references hopsworks.users (id),
  total_purchased numeric default 0 check (
    total_purchased >= 0 is not false or public.refuse_value('total_purchased', total_purchased::text, 'at least 0')),
  total_used numeric default 0 check (
    total_used >= 0 is not false or public.refuse_value('total_used', total_used::text, 'at least 0')),
  cpu_hours_used numeric default 0,
  gpu_hours_used numeric default 0,
  storage_gb_months numeric default 0,
  updated_at timestamptz default now()
);

-- One row per charge or refund; the payment service moves its status on.
create table if not exists hopsworks.billing_history (
  id uuid primary key default gen_random_uuid(),
  user_id text references hopsworks.users (id),
  amount numeric not null,
  currency text default 'USD',
  description text,
  stripe_invoice_id text,
  status text default 'pending',
  created_at timestamptz default now()
);

create index if not exists billing_history_user_idx on hopsworks.billing_history (user_id, created_at);

comment on column hopsworks.usage_daily.user_id is 'The user whose row it is';
comment on column hopsworks.user_credits.user_id is 'The user whose row it is';
comment on column hopsworks.billing_history.user_id is 'The user whose row it is';
