-- 155: what operators change about clusters through the API (document 004): the functions of 152 and 153, whose caller needs
-- rights on the tables, for a login that has none.

-- Calls one of document 004's functions with these arguments, by their names without `p_`; what is not given is as there. A
-- function that returns no JSON answers {"result": ...}. PF004 for another function or argument, PF013 for whom the API does
-- not speak for as an operator. Called by the API.
create or replace function clusters.call_as_operator(verb text, given jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  known constant jsonb := '{
    "create_cluster": ["name", "description", "region", "config", "max_nodes", "max_tenants", "max_storage_gb", "template"],
    "decommission_cluster": ["cluster_id", "force", "epoch"],
    "add_cluster_node": ["cluster_id", "name", "region", "availability_zone", "hostname", "ip_address", "capacity_cpu",
      "capacity_memory_gb", "capacity_storage_gb", "capacity_network_mbps", "roles", "priority", "epoch"],
    "update_node_status": ["node_id", "status", "health_status", "metrics", "epoch"],
    "promote_to_primary": ["node_id", "epoch"],
    "record_cluster_metrics": ["cluster_id", "node_id", "metrics", "epoch"],
    "get_cluster_info": ["cluster_id"],
    "get_cluster_health_summary": ["cluster_id"]}';
  epoch bigint;
begin
  perform public.must_ask_as(array['DEVOPS', 'ADMIN']);
  if not coalesce(known ? verb, false) then
    perform public.refuse_value('a call', left(quote_nullable(verb), 60), 'one of document 004');
  end if;
  perform autoscaler.check_changes(given, array(select jsonb_array_elements_text(known -> verb)));
  epoch := (given ->> 'epoch')::bigint;
  case verb
    when 'create_cluster' then
      return jsonb_build_object('result', clusters.create_cluster(given ->> 'name', given ->> 'description',
        given ->> 'region', coalesce(nullif(given -> 'config', 'null'), '{}'), (given ->> 'max_nodes')::integer,
        (given ->> 'max_tenants')::integer, (given ->> 'max_storage_gb')::integer,
        coalesce(given ->> 'template', 'development')));
    when 'decommission_cluster' then
      return clusters.decommission_cluster(given ->> 'cluster_id', (given ->> 'force')::boolean, epoch);
    when 'add_cluster_node' then
      return jsonb_build_object('result', clusters.add_cluster_node(given ->> 'cluster_id', given ->> 'name',
        given ->> 'region', given ->> 'availability_zone', given ->> 'hostname', given ->> 'ip_address',
        (given ->> 'capacity_cpu')::float8, (given ->> 'capacity_memory_gb')::float8,
        (given ->> 'capacity_storage_gb')::float8, (given ->> 'capacity_network_mbps')::float8,
        case when jsonb_typeof(given -> 'roles') = 'array'
          then array(select jsonb_array_elements_text(given -> 'roles')) end,
        (given ->> 'priority')::integer, epoch));
    when 'update_node_status' then
      return clusters.update_node_status(given ->> 'node_id', given ->> 'status', given ->> 'health_status',
        nullif(given -> 'metrics', 'null'), epoch);
    when 'promote_to_primary' then
      return clusters.promote_to_primary(given ->> 'node_id', epoch);
    when 'record_cluster_metrics' then
      return jsonb_build_object('result', clusters.record_cluster_metrics(given ->> 'cluster_id', given ->> 'node_id',
        nullif(given -> 'metrics', 'null'), epoch));
    when 'get_cluster_info' then
      return clusters.get_cluster_info(given ->> 'cluster_id');
    when 'get_cluster_health_summary' then
      return clusters.get_cluster_health_summary(given ->> 'cluster_id');
  end case;
exception when invalid_text_representation or numeric_value_out_of_range then
  perform public.refuse_value('an argument', 'of another type', 'as document 004 prints it');
end
$$;

revoke execute on function clusters.call_as_operator(text, jsonb) from public;
