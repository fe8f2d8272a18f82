variable "namespace" {
  description = "Where pgfleet runs."
  type        = string
  default     = "gpu-controlplane"
}

variable "reservations_namespace" {
  description = "Where pods of users run."
  type        = string
  default     = "gpu-dev"
}

variable "create_namespaces" {
  description = "Whether both namespaces are made here. One that has reservations is not for a destroy to take along."
  type        = bool
  default     = true
}

variable "image" {
  description = "The image, without its tag, and the tag or a digest; empty is what the chart names."
  type = object({
    repository = optional(string, "ghcr.io/pgfleet/pgfleet")
    tag        = optional(string, "")
    digest     = optional(string, "")
  })
  default = {}
}

variable "settings" {
  description = "Settings (PGFLEET_...) of every worker and of the API, in a ConfigMap; no secrets."
  type        = map(string)
  default     = {}
}

variable "replicas" {
  description = "Workers by kind, where they are not two."
  type        = map(number)
  default     = {}
}

variable "values" {
  description = "Further values of the chart as YAML, each over the one before: file(\"../chart/variants/keda.yaml\"), say."
  type        = list(string)
  default     = []
}

variable "postgres" {
  description = "A PostgreSQL by CloudNativePG, whose operator is in the cluster; null where you have one."
  type = object({
    namespace = optional(string, "postgres")
    instances = optional(number, 3)
    storage   = optional(string, "50Gi")
  })
  default = null

  validation {
    condition     = var.postgres == null || try(var.postgres.instances, 0) >= 3
    error_message = "A commit waits for one of two standbys: three instances or more."
  }
}
