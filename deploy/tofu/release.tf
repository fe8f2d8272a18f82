# The chart is the one truth: its ConfigMap of settings, its migration Job with the hash of the SQL files in its name, its
# Deployments. A changed schema is a new Job in the plan, as a changed image is. Workers start working once it is through.
locals {
  given = {
    image        = var.image
    reservations = { namespace = var.reservations_namespace }
    settings     = var.settings
    workers      = { kinds = { for kind, number in var.replicas : kind => { replicas = number } } }
  }
  with_postgres = var.postgres == null ? [] : [
    yamlencode({
      database = {
        address  = "postgresql://fleet-rw.${var.postgres.namespace}:5432/pgfleet?sslmode=verify-full"
        caSecret = "fleet-ca"
        ports    = [5432]
      }
    })
  ]
}

resource "helm_release" "pgfleet" {
  name      = "pgfleet"
  namespace = var.namespace
  chart     = "${path.module}/../chart"
  values    = concat([yamlencode(local.given)], local.with_postgres, var.values)

  # Workers are ready when the migration is through; a release whose workers are not is taken back.
  wait          = true
  wait_for_jobs = true
  timeout       = 900
  atomic        = true

  depends_on = [
    kubernetes_namespace_v1.control_plane,
    kubernetes_namespace_v1.reservations,
    kubernetes_manifest.postgres,
  ]
}
