# deploy/postgres/cloudnativepg.yaml, with what is said of it here.
locals {
  postgres_manifests = {
    for each in [for text in split("\n---\n", file("${path.module}/../postgres/cloudnativepg.yaml")) : yamldecode(text)] :
    each.kind => each if var.postgres != null && each.kind != "Namespace"
  }
  postgres_own = {
    for given in var.postgres[*] : "Cluster" => {
      instances = given.instances
      storage   = { size = given.storage }
    }
  }
}

resource "kubernetes_namespace_v1" "postgres" {
  count = var.postgres == null ? 0 : 1

  metadata {
    name = var.postgres.namespace
  }
}

resource "kubernetes_manifest" "postgres" {
  for_each = local.postgres_manifests

  manifest = merge(each.value, {
    metadata = merge(each.value.metadata, { namespace = var.postgres.namespace })
    spec     = merge(each.value.spec, lookup(local.postgres_own, each.key, {}))
  })

  depends_on = [kubernetes_namespace_v1.postgres]
}
