-- 041: an account that a user has left is closed by what its row says: its number, and the username that the server gave
-- it, by which the worker sees that the number still stands for the same account. No message says either any more.

alter table hopsworks.accounts_to_close
  -- Of the account with that number; null where it was not kept. Written by leave_cluster (130).
  add column if not exists hopsworks_username text,
  -- Whether one may have been made whose number was never written: then it is found by the user's e-mail.
  add column if not exists may_be_unknown boolean not null default false;

update hopsworks.accounts_to_close k
set may_be_unknown = k.hopsworks_user_id is null,
  hopsworks_username = (
    select a.hopsworks_username from hopsworks.user_hopsworks_assignments a
    where a.user_id = k.user_id and a.left_cluster_id = k.hopsworks_cluster_id
      and a.status in ('released', 'failed') and k.hopsworks_user_id is not null);

-- Messages of before that said more than they may say now. A new database has no queue yet.
do $$
begin
  if to_regclass('pgmq.q_cluster_assignments') is null then
    return;
  end if;
  update pgmq.q_cluster_assignments
  set message = case
    when message ->> 'action' = 'close_account' then message - 'account_id'
    when message ->> 'action' = 'drain' and coalesce(message ->> 'after', '') <> ''
      then message || '{"action": "drain_page"}'
    when message ->> 'action' = 'drain' then message - 'after' - 'somebody_stays'
    when message ->> 'suspended_for' is not null
      then message - 'suspended_for' || jsonb_build_object('action', (message ->> 'action') || '_member')
    else message - 'suspended_for' end
  where message ->> 'action' in ('close_account', 'drain', 'suspend', 'reactivate');
end
$$;
