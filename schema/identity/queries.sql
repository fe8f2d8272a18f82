-- People as the HTTP API knows them (053, 164 to 166): who proofs lead to, and what is done to keys, accounts and the audit.

-- name: principal_of_key
-- Who a key is; no row where it lets nobody in.
select * from public.principal_of_key(:key_hash::text);

-- name: principal_of_subject
-- Who a verified token is about; `refused` says why the name in it can't be theirs.
select * from public.principal_of_subject(:issuer::text, :subject::text, :email::text, :email_verified::boolean,
  :username::text, :full_name::text, :role::text, :link_issuer::text);

-- name: password_of
-- The hash to compare a password with, if there is one, or how long to wait.
select * from public.password_of(:email::text, :address::text);

-- name: signed_in
-- Lets in who had the password of this hash, and makes the session's key.
select * from public.signed_in(:account_id::integer, :checked_hash::text, :address::text, :key_hash::text,
  :key_prefix::text, :life_s::double precision);

-- name: begin_session
-- Begins a session of whom the transaction speaks for; its number and its end.
select * from public.begin_session(:key_hash::text, :key_prefix::text, :life_s::double precision, :with_key::integer);

-- name: make_key
-- Makes a key; its number and its end.
select * from public.make_key(:username::text, :key_hash::text, :key_prefix::text, :life_s::double precision,
  :description::text, :may_make_name::boolean);

-- name: keys
-- Keys of a name or of everybody, the newest first.
select * from public.keys_seen(:username::text, :before::integer, :most::integer);

-- name: revoke_key
-- Ends a key; which it was.
select * from public.revoke_key(:which::text);

-- name: make_account
-- Makes a local account; its number.
select public.make_account(:email::text, :full_name::text, :role::text, :username::text, :password_hash::text) as id;

-- name: set_role
-- Gives an account a role.
select public.set_account_role(:account::text, :role::text);

-- name: set_active
-- Lets an account in, or no more.
select public.set_account_active(:account::text, :active::boolean);

-- name: set_password
-- Gives a local account another password.
select public.set_account_password(:account::text, :password_hash::text);

-- name: unlock
-- Forgets wrong passwords; from how many addresses.
select public.unlock_account(:account::text) as addresses;

-- name: bind
-- Binds a name to an account; how many keys ended with it.
select public.bind_username(:account::text, :username::text) as ended;

-- name: accounts
-- One account, or those after a number.
select * from public.accounts_seen(:account::text, :after::integer, :most::integer);

-- name: note_request
-- Puts a request into the audit.
select public.note_request(:action::text, :category::text, :resource_type::text, :resource_id::text, :resource_name::text,
  :description::text, :status::text, :error::text);

-- name: begin_request
-- Says who asks and begins a request that is done once; null where it is new.
select pg_catalog.set_config('statement_timeout', :timeout::text, true),
  pg_catalog.set_config('pgfleet.audited', pg_catalog.pg_current_xact_id()::text, true),
  case when pg_catalog.set_config('request.jwt.claims', :claims::jsonb::text, true) <> ''
    then public.begin_request(:key_hash::text, :endpoint::text, :asked_hash::text) end as answered;

-- name: note_answered
-- Puts a request into the audit, and keeps what it is answered.
select public.note_request(:action::text, :category::text, :resource_type::text, :resource_id::text, :resource_name::text,
    :description::text, :status::text, :error::text),
  public.finish_request(:key_hash::text, :answered::integer, :about::text, :location::text, :body::text);

-- name: note_refusals
-- Counts refusals of nobody in particular.
select public.note_refusals(:address::text, :number::bigint);
