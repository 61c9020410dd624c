{{- define "features.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- define "features.recursive" -}}
{{- if gt (int .) 0 }}{{ . }}{{ include "features.recursive" (sub . 1) }}{{ end -}}
{{- end -}}
