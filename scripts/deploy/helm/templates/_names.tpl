{{- define "stentor.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "stentor.selector" -}}
app.kubernetes.io/name: stentor
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "stentor.labels" -}}
{{ include "stentor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "stentor.isReached" -}}
{{- if .Values.secret.apiKey -}}
{{- required "secret.apiKey needs secret.name" .Values.secret.name -}}
{{- end -}}
{{- end -}}
