{{- /* A release that is called like the chart, or after it, does not say it twice. */ -}}
{{- define "ottla-operator.name" -}}
{{- $long := printf "%s-%s" .Release.Name .Chart.Name }}
{{- ternary .Release.Name $long (contains .Chart.Name .Release.Name) | trunc 54 | trimSuffix "-" }}
{{- end }}

{{- define "ottla-operator.selector" -}}
app.kubernetes.io/name: ottla-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ottla-operator.labels" -}}
{{ include "ottla-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "ottla-operator.account" -}}
{{- .Values.serviceAccount.name | default (include "ottla-operator.name" .) }}
{{- end }}

{{- define "ottla-operator.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- /* What the operator may do: the rules that `kubectl apply -k deploy/operator` grants, word for word. */ -}}
{{- define "ottla-operator.rules" -}}
{{ toYaml (.Files.Get "cluster-role.yaml" | fromYaml).rules }}
{{- end }}

{{- define "ottla-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "ottla-operator.account" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
