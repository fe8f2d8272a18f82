# Held to the standards of Pod Security as deploy/namespaces.yaml holds them.
locals {
  manifests = [
    for text in split("\n---\n", file("${path.module}/../namespaces.yaml")) : yamldecode(text)
  ]
  levels = { for each in local.manifests : each.metadata.name => each.metadata.labels }
}

resource "kubernetes_namespace_v1" "control_plane" {
  count = var.create_namespaces ? 1 : 0

  metadata {
    name   = var.namespace
    labels = local.levels["gpu-controlplane"]
  }
}

resource "kubernetes_namespace_v1" "reservations" {
  count = var.create_namespaces ? 1 : 0

  metadata {
    name   = var.reservations_namespace
    labels = local.levels["gpu-dev"]
  }

  lifecycle {
    prevent_destroy = true
  }
}
