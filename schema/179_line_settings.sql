-- 179: what operators set of lines (044): who has changed it is in the audit, and lines are looked at by it at once.

-- Has every line looked at in which somebody waits. A trigger of public.line_settings.
create or replace function public.look_at_lines() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.admit_to_nodes(array(select g.gpu_type::text from public.gpu_types g));
  return null;
end
$$;
revoke execute on function public.look_at_lines() from public;

create or replace trigger look_at_lines after update on public.line_settings
  for each row when (old.* is distinct from new.*) execute function public.look_at_lines();

select autoscaler.audit('public.line_settings', 'insert or update or delete', 'line_settings', 'CONFIG', 'only_one');
