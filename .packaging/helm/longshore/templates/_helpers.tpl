{{/* The name of all resources. The name of a CronJob has at most 52 characters. */}}
{{- define "longshore.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- end -}}

{{- define "longshore.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "longshore.labels" -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "longshore.serviceAccount" -}}
{{- default (ternary (include "longshore.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "longshore.configMap" -}}
{{- default (include "longshore.fullname" .) .Values.existingConfigMap -}}
{{- end -}}

{{/* The reference of an image: a list of the image and the context. */}}
{{- define "longshore.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default (index . 1).Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* The table [serve] of the configuration. */}}
{{- define "longshore.serve" -}}
{{- $serve := .Values.serve -}}
{{- if regexMatch "(?m)^\\s*\\[serve\\]" .Values.config -}}
{{- fail "config contains [serve]: set serve.tokens, serve.auth and serve.hosts instead" -}}
{{- end -}}
{{- if not (or $serve.tokens (eq $serve.auth "none")) -}}
{{- fail "serve has no tokens: set serve.tokens, or serve.auth to none if a proxy or a NetworkPolicy protects the service" -}}
{{- end -}}
{{- $name := printf "%s-serve" (include "longshore.fullname" .) -}}
{{- $names := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) -}}
[serve]
listen = "0.0.0.0:8470"
hosts = {{ concat $names $serve.hosts | toJson }}
refresh = {{ $serve.refresh | toJson }}
{{- if $serve.tokens }}
tokens = [
{{- range $serve.tokens }}
  { file = {{ printf "credential:%s" .credential | toJson }}, role = {{ .role | toJson }} },
{{- end }}
]
{{- else }}
auth = "none"
{{- end }}
{{- end -}}

{{/* A pod: a dictionary of the context, and of what the pod has in place of the defaults. */}}
{{- define "longshore.pod" -}}
{{- $ := .context -}}
{{- $values := $.Values -}}
{{- $secrets := ternary .task.secrets $values.secrets (hasKey .task "secrets") -}}
serviceAccountName: {{ include "longshore.serviceAccount" $ }}
automountServiceAccountToken: false
enableServiceLinks: false
# Run reports name the host.
hostname: {{ include "longshore.fullname" $ }}
restartPolicy: {{ .restartPolicy }}
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
{{- if hasKey .task "hostUsers" }}
hostUsers: {{ .task.hostUsers }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: longshore
    image: {{ include "longshore.image" (list .image $) }}
    imagePullPolicy: {{ default "IfNotPresent" .image.pullPolicy }}
    args: {{ .args | toJson }}
    env:
      - name: LONGSHORE_CONFIG
        value: /etc/longshore/config.toml
      - name: STATE_DIRECTORY
        value: /var/lib/longshore/state
      - name: RUNTIME_DIRECTORY
        value: /var/lib/longshore/locks
      - name: CREDENTIALS_DIRECTORY
        value: /run/credentials/longshore
      - name: HOME
        value: /var/lib/longshore
      {{- with concat $values.env (default list .task.env) }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    securityContext:
      {{- $security := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) }}
      {{- mustMergeOverwrite $security (default dict .task.securityContext | deepCopy) | toYaml | nindent 6 }}
    {{- with default $values.resources .task.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .serving }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    volumeMounts:
      # Single files: the path of the configuration identifies the run reports, and in a mounted
      # directory it is a link to another path in each pod.
      {{- range concat (list "config.toml") (keys $values.files | sortAlpha) }}
      - name: config
        mountPath: /etc/longshore/{{ . }}
        subPath: {{ . }}
        readOnly: true
      {{- end }}
      - name: state
        mountPath: /var/lib/longshore
      - name: tmp
        mountPath: /tmp
      {{- if $secrets }}
      - name: credentials
        mountPath: /run/credentials/longshore
        readOnly: true
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "longshore.configMap" $ }}
  - name: state
    {{- if $values.state.persistence }}
    persistentVolumeClaim:
      claimName: {{ default (printf "%s-state" (include "longshore.fullname" $)) $values.state.existingClaim }}
    {{- else }}
    emptyDir: {}
    {{- end }}
  - name: tmp
    emptyDir:
      {{- $tmp := dict }}
      {{- with $values.tmp.medium }}{{ $tmp = set $tmp "medium" . }}{{ end }}
      {{- with $values.tmp.sizeLimit }}{{ $tmp = set $tmp "sizeLimit" . }}{{ end }}
      {{- toYaml $tmp | nindent 6 }}
  {{- if $secrets }}
  - name: credentials
    projected:
      defaultMode: 288 # 0440
      sources:
        {{- range $secrets }}
        - secret:
            {{- toYaml . | nindent 12 }}
        {{- end }}
  {{- end }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The metadata of a pod: a dictionary of the context and of the component. */}}
{{- define "longshore.podMetadata" -}}
labels:
  {{- include "longshore.labels" .context | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  {{- with .context.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # A changed configuration replaces the pod of the service.
  checksum/config: {{ include (print .context.Template.BasePath "/configmap.yaml") .context | sha256sum }}
  {{- with .context.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
