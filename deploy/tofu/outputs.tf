output "version" {
  description = "The version of pgfleet that is deployed."
  value       = helm_release.pgfleet.metadata.app_version
}

output "secrets" {
  description = "Secrets that have to be in the namespace: a login of the database for each kind, the API and the migration."
  value = sort(concat(
    [for file in fileset("${path.module}/../chart/kinds", "*.yaml") : "pgfleet-db-${trimsuffix(file, ".yaml")}"],
    ["pgfleet-db-api", "pgfleet-db-migrator"],
  ))
}
