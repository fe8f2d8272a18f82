-- 001: who may call the API. Written by the API when a person logs in and when a key is made or used;
-- read at every call. Keys are kept as SHA-256 hashes only, so that a copy of this table opens nothing.

-- People, by their GitHub name; written at the first login. A closed account stays, with is_active false.
-- created_at has no time zone because seed 003 prints it so; every other time here has one.
create table if not exists public.api_users (
  user_id serial primary key,
  username varchar(255) unique not null,
  email varchar(255),
  created_at timestamp default now(),
  is_active boolean default true
);

-- Keys of people; key_prefix is what a listing shows. A key works while it is active and not expired.
create table if not exists public.api_keys (
  key_id serial primary key,
  user_id integer not null references public.api_users (user_id) on delete cascade,
  key_hash varchar(128) unique not null,
  key_prefix varchar(16) not null,
  created_at timestamptz default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  is_active boolean default true,
  description text
);

create index if not exists api_keys_user_idx on public.api_keys (user_id);
create index if not exists api_keys_prefix_idx on public.api_keys (key_prefix);
