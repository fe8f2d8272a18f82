-- 187: the configurations of autoscaler nodes.

-- Writes the hash of a configuration, the SHA-256 of its text; one that the caller gives is replaced, with a warning
-- where it is another. A trigger of autoscaler.node_configurations.
create or replace function autoscaler.hash_configuration() returns trigger
language plpgsql
as $$
declare
  hash constant text := encode(sha256(convert_to(new.yaml_config, 'UTF8')), 'hex');
begin
  if new.config_hash <> hash then
    raise warning 'config_hash % is not the SHA-256 of yaml_config: % is written instead', new.config_hash, hash;
  end if;
  new.config_hash := hash;
  return new;
end
$$;

create or replace trigger hash_configuration before insert or update of yaml_config, config_hash
  on autoscaler.node_configurations
  for each row execute function autoscaler.hash_configuration();
