-- Whom the database takes somebody for who asks.

-- name: whoami
-- The login, whom it speaks for, the roles of ours that it has, and whether it owns the tables; what is stamped as
-- `asked_by` into messages that it sends (105) is the second, where there is a stamp.
select session_user::text as login, public.request_user()::text as speaks_for, current_database()::text as database,
  array(
    select r.rolname::text from pg_roles r
    where r.rolname like 'pgfleet\_%' and pg_has_role(session_user, r.oid, 'member')
    order by r.rolname) as roles,
  pg_has_role(session_user, c.relowner, 'member') as is_owner, c.relrowsecurity as by_rows
from pg_class c
where c.oid = 'public.reservations'::regclass;
