{{- /* Names, labels, and the kinds that there are: a file in kinds/ is a kind. */ -}}

{{- define "pgfleet.labels" -}}
app.kubernetes.io/name: {{ .root.Values.name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "pgfleet.image" -}}
{{- $image := .Values.image -}}
{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The kinds with all that holds for each: what every kind has, the chart's file of the kind, the operator's values. */ -}}
{{- define "pgfleet.kinds" -}}
{{- $kinds := dict -}}
{{- $root := . -}}
{{- range $path, $_ := .Files.Glob "kinds/*.yaml" -}}
  {{- $kind := trimSuffix ".yaml" (base $path) -}}
  {{- $special := $root.Files.Get $path | fromYaml -}}
  {{- $given := index $root.Values.workers.kinds $kind | default dict -}}
  {{- $_ := set $kinds $kind (mustMergeOverwrite (deepCopy $root.Values.workers.defaults) $special (deepCopy $given)) -}}
{{- end -}}
{{- range $kind, $_ := .Values.workers.kinds -}}
  {{- if not (hasKey $kinds $kind) -}}
    {{- fail (printf "workers.kinds.%s: there is no such kind, but %s" $kind (keys $kinds | sortAlpha | join ", ")) -}}
  {{- end -}}
{{- end -}}
{{- toYaml $kinds -}}
{{- end }}

{{- /* How long a pod has to end: what the program takes at most, and a while. */ -}}
{{- define "pgfleet.grace" -}}
{{ add (int .Values.drainSeconds) 30 }}
{{- end }}

{{- define "pgfleet.worker" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.name }}-reservation
{{- end }}
