-- 029: that a Hopsworks cluster does not answer is an outage (023) now, like that of anything else outside. What an
-- older version knew of it comes over: its table is dropped, with the messages that kept it.

do $$
begin
  if to_regclass('hopsworks.cluster_breakers') is null then
    return;
  end if;
  insert into public.outages (dependency, calls, queue, code, reason, began_at, retry_at)
  select 'hopsworks:' || b.cluster_id, 'read', 'cluster_assignments',
    case b.kind when 'api_key' then 'CLUSTER_KEY_REFUSED' else 'CLUSTER_UNREACHABLE' end,
    coalesce(b.reason, ''), b.opened_at, b.retry_at
  from hopsworks.cluster_breakers b
  where b.retry_at is not null
  on conflict do nothing;
  delete from pgmq.q_cluster_assignments
  where message ->> 'action' in ('call_failed', 'call_answered', 'probe');
  drop trigger if exists make_breaker on hopsworks.hopsworks_clusters;
  drop function if exists hopsworks.make_breaker();
  drop table hopsworks.cluster_breakers;
end
$$;
