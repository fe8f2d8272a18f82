-- 117: what of a reservation is for its own user alone, or for whoever may act for them; and its names (005, 006).

-- Whether who asks is this user. The owner of the tables is everybody: it reads all columns anyway. Called by
-- jupyter_token_of and may_act_for.
create or replace function public.is_asked_by(of_user text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return of_user = public.request_user() or pg_has_role(session_user,
    (select relowner from pg_class where oid = 'public.reservations'::regclass), 'member');
end
$$;
revoke execute on function public.is_asked_by(text) from public;

-- Whether who asks may act for this user: is this user, or asks as an operator, or is a service that speaks for all.
-- Called by ask_for_logs.
create or replace function public.may_act_for(of_user text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select public.is_asked_by(of_user)
    or coalesce(pg_has_role(session_user, to_regrole('pgfleet_sender')::oid, 'member'), false)
    or coalesce(pg_has_role(session_user, to_regrole('pgfleet_api')::oid, 'member'), false)
      and coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'pgfleet_role', '')
        in ('DEVOPS', 'ADMIN')
$$;
revoke execute on function public.may_act_for(text) from public;

-- The token of a reservation's Jupyter; null for anybody but its user. A column of secrets (161) is nobody's to read.
-- Called by the command line.
create or replace function public.jupyter_token_of(of_reservation text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select r.jupyter_token from public.reservations r
  where r.reservation_id = of_reservation and public.is_asked_by(r.user_id)
$$;
revoke execute on function public.jupyter_token_of(text) from public;

-- Keeps the names of a reservation true to its row: they are there while it is active and has one (PGFLEET_DOMAIN), and
-- lead where it is. For Jupyter a load balancer's group, while that is on. In the commit of whoever changes the row. A
-- trigger of public.reservations.
create or replace function public.keep_names() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if new.status = 'active' and new.domain_name is not null and new.node_ip is not null and new.node_port is not null then
    insert into public.domain_mappings as known (domain_name, node_ip, node_port, reservation_id, expires_at)
    values (new.domain_name, new.node_ip, new.node_port, new.reservation_id, new.expires_at)
    on conflict (domain_name) do update set node_ip = excluded.node_ip, node_port = excluded.node_port,
      reservation_id = excluded.reservation_id, expires_at = excluded.expires_at;
    delete from public.domain_mappings d
    where d.reservation_id = new.reservation_id and d.domain_name <> new.domain_name;
  else
    delete from public.domain_mappings d where d.reservation_id = new.reservation_id;
  end if;
  if new.status = 'active' and new.fqdn is not null and new.jupyter_url is not null then
    insert into public.alb_target_groups as known
      (reservation_id, purpose, target_group_name, domain_name, port, expires_at)
    values (new.reservation_id, 'jupyter', left(new.pod_name || '-jupyter', 32), 'jupyter-' || new.fqdn,
      new.jupyter_port, new.expires_at)
    on conflict (reservation_id, purpose) do update set domain_name = excluded.domain_name, port = excluded.port,
      expires_at = excluded.expires_at;
  else
    delete from public.alb_target_groups g where g.reservation_id = new.reservation_id and g.purpose = 'jupyter';
  end if;
  return null;
end
$$;
revoke execute on function public.keep_names() from public;

create or replace trigger keep_names after update on public.reservations
  for each row when (
    (old.domain_name is not null or new.domain_name is not null)
    and (old.status is distinct from new.status or old.domain_name is distinct from new.domain_name
      or old.fqdn is distinct from new.fqdn or old.node_ip is distinct from new.node_ip
      or old.node_port is distinct from new.node_port or old.expires_at is distinct from new.expires_at
      or old.jupyter_url is distinct from new.jupyter_url or old.jupyter_port is distinct from new.jupyter_port))
  execute function public.keep_names();
