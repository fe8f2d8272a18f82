{{- /* The way to names: the cluster's own servers, and NodeLocal DNSCache. */ -}}
{{- define "pgfleet.names" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.network.dns.namespace }}
      podSelector:
        matchLabels:
          {{- toYaml .Values.network.dns.labels | nindent 10 }}
    {{- with .Values.network.dns.nodeLocal }}
    # Where NodeLocal DNSCache listens; of the same range as the metadata address, which has another number.
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}
