-- 063: sessions of the dashboard. Each is a key that a browser holds (api_keys.is_session); one that somebody began with a key
-- of theirs ends with that key (127).

-- The key with which a session was begun.
-- squawk-ignore adding-foreign-key-constraint
alter table public.api_keys add column if not exists begun_with integer references public.api_keys (key_id) on delete cascade;
create index if not exists api_keys_begun_with_idx on public.api_keys (begun_with) where begun_with is not null;
