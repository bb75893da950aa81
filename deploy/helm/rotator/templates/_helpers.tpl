{{- define "rotator.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}{{ else if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "rotator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "rotator.labels" -}}
{{- include "rotator.labelsAnd" (list . dict) }}
{{- end }}

{{- /* The labels of an object: what selects pods goes before its own, and those before those of all. A key that is said
twice stands there once. Takes the context and its own. */}}
{{- define "rotator.labelsAnd" -}}
{{- $own := last . | default dict }}
{{- with first . }}
{{- $chart := dict "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- toYaml (merge (include "rotator.selector" . | fromYaml) $own (.Values.commonLabels | default dict) $chart) }}
{{- end }}
{{- end }}

{{- /* The annotations of an object: those of all, and its own, which go before. Takes the context and its own. */}}
{{- define "rotator.annotations" -}}
{{- with merge (dict) (last . | default dict) ((first .).Values.commonAnnotations | default dict) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rotator.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "rotator.name" .) | quote }}
{{- end }}

{{- define "rotator.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- /* rotator.yaml: what the values say, and what only the chart knows. */}}
{{- define "rotator.config" -}}
{{- $state := "sqlite:/var/lib/rotator/rotator.db" }}
{{- if eq .Values.journal.type "postgres" }}{{ $state = printf "credential:%s" .Values.journal.postgres.credential }}{{ end }}
{{- $installation := printf "%s/%s/%s" .Values.cluster .Release.Namespace .Release.Name }}
{{- $policies := list (dict "dir" "/etc/rotator/policies") }}
{{- range .Values.policyFolders }}
{{- $policies = append $policies (merge (dict "dir" (printf "/etc/rotator/folders/%s" .name)) (omit . "name" "configMap")) }}
{{- end }}
{{- toYaml (mustMergeOverwrite (dict "installation" $installation) (deepCopy .Values.config) (dict
  "state" $state
  "policies" (ternary $policies "/etc/rotator/policies" (gt (len $policies) 1))
  "listen" (printf ":%d" (int .Values.service.port))
  "socket" "/run/rotator/rotator.sock")) }}
{{- end }}

{{- /* Whether a store speaks to this cluster as the pod: it needs the token that the kubelet projects. */}}
{{- define "rotator.automount" -}}
{{- $own := false }}
{{- range .Values.config.stores }}{{ if and (eq .type "kubernetes") (not .server) }}{{ $own = true }}{{ end }}{{ end }}
{{- $own }}
{{- end }}

{{- /* The ports that the pods may reach: those that the values name, and those that the configuration needs. */}}
{{- define "rotator.egress" -}}
{{- $ports := list }}
{{- range .Values.networkPolicy.ports }}{{ $ports = append $ports (int .) }}{{ end }}
{{- if eq .Values.journal.type "postgres" }}{{ $ports = append $ports 5432 }}{{ end }}
{{- if eq (include "rotator.automount" .) "true" }}{{ $ports = append $ports 6443 }}{{ end }}
{{- range regexFindAll `https?://[^/"]+:[0-9]+` (toJson .Values.config) -1 }}{{ $ports = append $ports (regexFind "[0-9]+$" . | int) }}{{ end }}
{{- range uniq $ports }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end }}

{{- /* Where pods run. */}}
{{- define "rotator.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* How several replicas are spread: each constraint is for these pods where it does not say for which. */}}
{{- define "rotator.spread" -}}
{{- $spread := .Values.topologySpreadConstraints }}
{{- if and (not $spread) (gt (int .Values.replicas) 1) }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
{{- $spread = append $spread (dict "maxSkew" 1 "topologyKey" . "whenUnsatisfiable" "ScheduleAnyway") }}
{{- end }}
{{- end }}
{{- $all := list }}
{{- range $spread }}
{{- $these := dict "labelSelector" (dict "matchLabels" (include "rotator.selector" $ | fromYaml)) }}
{{- $all = append $all (hasKey . "labelSelector" | ternary . (merge $these .)) }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- define "rotator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "rotator.env" -}}
- {name: ROTATOR_CONFIG, value: /etc/rotator/config/rotator.yaml}
- {name: CREDENTIALS_DIRECTORY, value: /var/run/secrets/rotator-credentials}
{{- $said := list }}
{{- range .Values.env }}{{ $said = append $said .name }}{{ end }}
{{- /* Four fifths of the limit: Go collects before the kernel kills. */}}
{{- $limit := dig "limits" "memory" "" (.Values.resources | default dict) }}
{{- $limit = kindIs "float64" $limit | ternary (printf "%.0f" $limit) (toString $limit) }}
{{- $mebibytes := get (dict "" 9.5367431640625e-7 "k" 9.5367431640625e-4 "M" 0.95367431640625 "G" 953.67431640625 "Ki" 9.765625e-4 "Mi" 1.0 "Gi" 1024.0)
  (regexReplaceAll "^[0-9.]+" $limit "") }}
{{- if and $limit $mebibytes (not (has "GOMEMLIMIT" $said)) }}
- {name: GOMEMLIMIT, value: {{ mulf (regexFind "^[0-9.]+" $limit | float64) $mebibytes 0.8 | floor }}MiB}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* What the daemon and the test pod have in common. */}}
{{- define "rotator.mounts" -}}
- {name: config, mountPath: /etc/rotator/config, readOnly: true}
- {name: policies, mountPath: /etc/rotator/policies, readOnly: true}
{{- range .Values.policyFolders }}
- {name: {{ printf "policies-%s" .name }}, mountPath: {{ printf "/etc/rotator/folders/%s" .name }}, readOnly: true}
{{- end }}
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
  configMap: {name: {{ .Values.existingPolicies | default (printf "%s-policies" (include "rotator.name" .)) | quote }}}
{{- range .Values.policyFolders }}
- name: {{ printf "policies-%s" .name }}
  configMap: {name: {{ .configMap | quote }}, optional: true} # one that its team deleted must not keep the pod from starting
{{- end }}
- name: credentials
  projected:
    defaultMode: 0440
    sources:
      {{- range .Values.credentials }}
      - secret:
          name: {{ .secret | quote }}
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
