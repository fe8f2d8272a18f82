-- 053: people as the HTTP API knows them. A person has an account (autoscaler.users: role, active or not) and a name
-- (public.api_users: what `user_id` of rows holds); each of them at most one of the other. A service has a name without an
-- account. Proofs lead to an account or a name: keys (public.api_keys), subjects of issuers, and passwords. All of it is
-- written by the functions of 164 to 166 alone, which the API's login and operators call.

-- With an account go its name and its keys.
-- squawk-ignore adding-foreign-key-constraint
alter table public.api_users add column if not exists account_id integer references autoscaler.users (id) on delete cascade;
create unique index if not exists api_users_account_idx on public.api_users (account_id);
create index if not exists api_users_username_lower_idx on public.api_users (lower(username));

-- Whether a key was made by signing in with a password: such keys end with the password.
alter table public.api_keys add column if not exists is_session boolean not null default false;
create index if not exists api_keys_expires_idx on public.api_keys (expires_at);

create index if not exists users_email_lower_idx on autoscaler.users (lower(email));

-- Who somebody is at an issuer of tokens: issuer and subject together are the identity, of one account. An account may have
-- one at each of several issuers. Made at the first sight of a token; read with each token.
create table if not exists autoscaler.user_subjects (
  issuer text not null check (
    length(issuer) >= 1 and length(issuer) <= 500
    or public.refuse_value('issuer', left(issuer, 60), 'text of 1 to 500 letters')),
  subject text not null check (
    length(subject) >= 1 and length(subject) <= 255
    or public.refuse_value('subject', left(subject, 60), 'text of 1 to 255 letters')),
  account_id integer not null references autoscaler.users (id) on delete cascade,
  first_seen_at timestamptz not null default public.fleet_now(),
  primary key (issuer, subject),
  unique (account_id, issuer)
);

-- Wrong passwords, for an account from an address: how many, and until when no other is looked at. An e-mail that is no
-- account's has its row as well, so that nobody learns which are; it is kept as its SHA-256, as people type passwords in its
-- place. Written by password_of and signed_in.
create table if not exists public.sign_in_failures (
  email_hash text not null,
  address text not null,
  failures integer not null,
  last_at timestamptz not null,
  not_before timestamptz not null,
  primary key (email_hash, address)
);
create index if not exists sign_in_failures_last_idx on public.sign_in_failures (last_at);

-- How often somebody without a proof was refused, by address and minute. Written by note_refusals.
create table if not exists public.refusals (
  address text not null,
  minute timestamptz not null,
  refused bigint not null,
  primary key (minute, address)
);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.sign_in_failures', 'last_at', '1 day', false, null),
  ('public.refusals', 'minute', '30 days', false, null),
  ('public.api_keys', 'expires_at', '90 days', false, null),
  ('autoscaler.audit_logs', 'timestamp', '400 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
