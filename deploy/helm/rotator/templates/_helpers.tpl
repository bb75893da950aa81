{{- define "rotator.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "rotator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rotator.labels" -}}
{{ include "rotator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "rotator.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "rotator.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "rotator.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- /* rotator.yaml: what the values say, and what only the chart knows. */}}
{{- define "rotator.config" -}}
{{- $state := "sqlite:/var/lib/rotator/rotator.db" }}
{{- if eq .Values.journal.type "postgres" }}{{ $state = printf "credential:%s" .Values.journal.postgres.credential }}{{ end }}
{{- toYaml (mustMergeOverwrite (deepCopy .Values.config) (dict
  "state" $state
  "policies" "/etc/rotator/policies"
  "listen" (printf ":%d" (int .Values.service.port))
  "socket" "/run/rotator/rotator.sock")) }}
{{- end }}

{{- /* Whether a store speaks to this cluster as the pod: it needs the token that the kubelet projects. */}}
{{- define "rotator.automount" -}}
{{- $own := false }}
{{- range .Values.config.stores }}{{ if and (eq .type "kubernetes") (not .server) }}{{ $own = true }}{{ end }}{{ end }}
{{- $own }}
{{- end }}

{{- define "rotator.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "rotator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "rotator.env" -}}
- {name: ROTATOR_CONFIG, value: /etc/rotator/config/rotator.yaml}
- {name: CREDENTIALS_DIRECTORY, value: /var/run/secrets/rotator-credentials}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* What the daemon and the test pod have in common. */}}
{{- define "rotator.mounts" -}}
- {name: config, mountPath: /etc/rotator/config, readOnly: true}
- {name: policies, mountPath: /etc/rotator/policies, readOnly: true}
- {name: credentials, mountPath: /var/run/secrets/rotator-credentials, readOnly: true}
{{- if .Values.tokens }}
- {name: tokens, mountPath: /var/run/secrets/rotator, readOnly: true}
{{- end }}
- {name: run, mountPath: /run/rotator}
- {name: state, mountPath: /var/lib/rotator}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "rotator.volumes" -}}
- name: config
  configMap: {name: {{ include "rotator.name" . }}}
- name: policies
  configMap: {name: {{ .Values.existingPolicies | default (printf "%s-policies" (include "rotator.name" .)) }}}
- name: credentials
  projected:
    defaultMode: 0440
    sources:
      {{- range .Values.credentials }}
      - secret:
          name: {{ .secret }}
          items: [{key: {{ .key | quote }}, path: {{ .name | quote }}}]
      {{- else }} []
      {{- end }}
{{- if .Values.tokens }}
- name: tokens
  projected:
    defaultMode: 0440
    sources:
      {{- range .Values.tokens }}
      - serviceAccountToken:
          path: {{ .name | quote }}
          audience: {{ .audience | quote }}
          expirationSeconds: {{ .expirationSeconds | default 3600 | int }}
      {{- end }}
{{- end }}
- name: run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
