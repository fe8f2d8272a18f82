-- 102: when a row was last written.

-- Keeps updated_at true, whoever writes. A trigger of every table that has the column.
create or replace function public.touch_updated_at() returns trigger
language plpgsql
as $$
begin
  new.updated_at := now();
  return new;
end
$$;

create or replace trigger touch_updated_at before update on public.reservations
  for each row execute function public.touch_updated_at();
create or replace trigger touch_updated_at before update on public.gpu_types
  for each row execute function public.touch_updated_at();
create or replace trigger touch_updated_at before update on hopsworks.hopsworks_clusters
  for each row execute function public.touch_updated_at();
create or replace trigger touch_updated_at before update on hopsworks.billing_rates
  for each row execute function public.touch_updated_at();
create or replace trigger touch_updated_at before update on hopsworks.user_credits
  for each row execute function public.touch_updated_at();
create or replace trigger touch_updated_at before update on clusters.cluster_config_templates
  for each row execute function public.touch_updated_at();
create or replace trigger touch_updated_at before update on clusters.clusters
  for each row execute function public.touch_updated_at();
create or replace trigger touch_updated_at before update on clusters.cluster_nodes
  for each row execute function public.touch_updated_at();

-- Keeps last_updated true, whoever writes. A trigger of public.disks.
create or replace function public.touch_last_updated() returns trigger
language plpgsql
as $$
begin
  new.last_updated := now();
  return new;
end
$$;

create or replace trigger touch_last_updated before update on public.disks
  for each row execute function public.touch_last_updated();
