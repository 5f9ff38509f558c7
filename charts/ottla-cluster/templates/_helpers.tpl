{{- define "ottla-cluster.name" -}}
{{ .Values.name | default .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "ottla-cluster.labels" -}}
app.kubernetes.io/name: ottla-cluster
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
