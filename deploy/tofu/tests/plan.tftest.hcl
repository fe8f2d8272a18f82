# `tofu test`, with providers that are none: what would be made.
mock_provider "helm" {}
mock_provider "kubernetes" {}

run "with_a_database_of_yours" {
  command = plan

  variables {
    replicas = { reservation = 3 }
    settings = { PGFLEET_MAX_HOURS = "48" }
  }

  assert {
    condition     = yamldecode(helm_release.pgfleet.values[0]).workers.kinds.reservation.replicas == 3
    error_message = "replicas go to the chart"
  }
  assert {
    condition     = length(kubernetes_manifest.postgres) == 0
    error_message = "no PostgreSQL is made where there is one"
  }
  assert {
    condition     = contains(output.secrets, "pgfleet-db-reservation")
    error_message = "Secrets that have to be there are told"
  }
}

run "with_a_postgres_of_its_own" {
  command = plan

  variables {
    postgres = { instances = 5 }
  }

  assert {
    condition     = kubernetes_manifest.postgres["Cluster"].manifest.spec.instances == 5
    error_message = "the cluster has as many servers as were said"
  }
}
