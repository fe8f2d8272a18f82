{{- /* What all pods of ours have in common; each within the standard `restricted`. */ -}}

{{- define "pgfleet.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "pgfleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* The variables that lead to the database: a whole address from a Secret, or ours with the Secret's user and password. */ -}}
{{- define "pgfleet.database" -}}
{{- $database := .root.Values.database -}}
{{- $secret := printf "%s-db-%s" .root.Values.name .login -}}
{{- if $database.address }}
- name: DATABASE_URL
  value: {{ $database.address | quote }}
{{- with $database.directAddress }}
- name: DATABASE_DIRECT_URL
  value: {{ . | quote }}
{{- end }}
- name: PGUSER
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: username
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: password
{{- else }}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $database.urlKey }}
- name: DATABASE_DIRECT_URL
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $database.directUrlKey }}
      optional: true
{{- end }}
{{- if $database.caSecret }}
- name: PGSSLROOTCERT
  value: /etc/pgfleet/ca/ca.crt
{{- end }}
{{- end }}

{{- define "pgfleet.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.database.caSecret }}
- name: ca
  mountPath: /etc/pgfleet/ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "pgfleet.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .size }}
{{- with .root.Values.database.caSecret }}
- name: ca
  secret:
    secretName: {{ . }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- end }}

{{- /* Settings, and what is asked for from outside of the pod: by the kubelet and by Prometheus. */ -}}
{{- define "pgfleet.metrics" -}}
- name: PGFLEET_METRICS_PORT
  value: "9191"
- name: PGFLEET_METRICS_HOST
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end }}

{{- define "pgfleet.settings" -}}
- configMapRef:
    name: {{ .root.Values.name }}-settings
{{- range .secrets }}
- secretRef:
    name: {{ . }}
{{- end }}
{{- end }}

{{- define "pgfleet.annotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "9191"
prometheus.io/path: /metrics
{{- end }}

{{- /* The port is open when the program has started; from then on it is live until something in it hangs. */ -}}
{{- define "pgfleet.probes" -}}
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ .port }}
  periodSeconds: {{ .period }}
  timeoutSeconds: 5
  failureThreshold: {{ .failures }}
startupProbe:
  httpGet:
    path: /livez
    port: {{ .port }}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /livez
    port: {{ .port }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- /* Apart from each other, by node and by zone, where that can be had. */ -}}
{{- define "pgfleet.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "pgfleet.labels" $ | nindent 6 }}
{{- end }}
{{- end }}
