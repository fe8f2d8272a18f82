"""At every commit, whoever commits: held GPUs are those of the rows, and no more than there are."""

from worlds.fleet import Connection

WATCH = """
create function assert_gpus() returns trigger language plpgsql security definer as $$
begin
  if exists (
    select from public.gpu_types g
    where g.gpu_type = coalesce(new.gpu_type, old.gpu_type) and (
      g.held_gpus > g.total_cluster_gpus
      or g.held_gpus <> (
        select coalesce(sum(r.gpus_held), 0) from public.reservations r
        where r.gpu_type = g.gpu_type and r.gpus_held > 0))
  ) then
    raise exception 'GPUs of % were given twice', new.gpu_type;
  end if;
  return null;
end
$$;
create index held_idx on public.reservations (gpu_type) include (gpus_held) where gpus_held > 0;
create constraint trigger assert_gpus after update of gpus_held on public.reservations
  deferrable initially deferred for each row execute function assert_gpus();
"""


def refuse_overcommitment(conn: Connection) -> None:
    """From now on a commit that would give a GPU twice fails, and with it whatever test sees its message fail."""
    conn.execute(WATCH)
