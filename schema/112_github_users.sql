-- 112: whose SSH keys are on record (040). What one user may have is in 116.

-- The name at GitHub that is on record for a user; null where none is. Called by workers, by note_github_user, and by
-- the command line where the login may.
create or replace function public.github_user_of(of_user text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select p.github_user from public.api_users p where p.username = of_user and p.is_active $$;
revoke execute on function public.github_user_of(text) from public;

-- Fills in who is let in where a service inserts a reservation and names nobody. A trigger of public.reservations.
create or replace function public.note_github_user() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  new.github_user := public.github_user_of(new.user_id);
  return new;
end
$$;
revoke execute on function public.note_github_user() from public;

create or replace trigger note_github_user before insert on public.reservations
  for each row when (new.github_user is null) execute function public.note_github_user();
