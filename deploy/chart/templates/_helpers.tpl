{{- define "agents.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{/* Takes (list $ <a tag, or nothing>). */}}
{{- define "agents.image" -}}
{{- $image := (index . 0).Values.image -}}
{{ $image.repository }}{{ if index . 1 }}:{{ index . 1 }}{{ else if $image.digest }}@{{ $image.digest }}{{ else }}:{{ include "agents.tag" . }}{{ end }}
{{- end }}

{{- define "agents.tag" -}}
{{- $ := index . 0 -}}
{{ index . 1 | default ($.Values.image.digest | trimPrefix "sha256:" | trunc 12) | default $.Values.image.tag | default $.Chart.AppVersion }}
{{- end }}

{{/* The workers by part: `workers`, each over `worker`; without any, the one. */}}
{{- define "agents.workers" -}}
{{- $workers := dict }}
{{- range $name, $own := .Values.workers }}
{{- $_ := set $workers (printf "worker-%s" $name) (mergeOverwrite (deepCopy $.Values.worker) (deepCopy $own)) }}
{{- end }}
{{- toYaml ($workers | default (dict "worker" .Values.worker)) }}
{{- end }}

{{/* What Temporal calls the queues that a worker serves. Takes (list $ <the worker>). */}}
{{- define "agents.taskQueues" -}}
{{- $own := (index . 0).Values.temporal.taskQueue }}
{{- $queues := dig "temporal" "queues" dict (index . 0).Values.config }}
{{- range (index . 1).queues | default (concat (list "workflows") (keys $queues | sortAlpha)) }}
{{- $queue := get $queues . | default dict }}
{{- if eq . "workflows" }}
- {{ $own | quote }}
{{- else if kindIs "string" $queue }}
- {{ $queue | quote }}
{{- else }}
- {{ $queue.task_queue | default (printf "%s-%s" $own .) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* What selects the pods of one part. Takes (list $ "server"). */}}
{{- define "agents.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "agents.labels" -}}
{{ include "agents.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{/* mcp_agent.config.yaml: what follows from the values, and `config` over it. */}}
{{- define "agents.settings" -}}
{{- $settings := mergeOverwrite (include "agents.ownSettings" . | fromYaml) (deepCopy .Values.config) }}
{{- $server := $settings.server }}
{{- range $section, $keys := dict "server" (list "host" "port" "grace_seconds" "public_url") "observability" (list "health" "metrics") }}
{{- range $key := $keys }}
{{- if hasKey (get $.Values.config $section | default dict) $key }}
{{- fail (printf "config.%s.%s follows from the chart's own values, so that probes and ports fit: change those." $section $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- if not (or $server.auth $server.public_without_auth) }}
{{- fail "Say who may call with config.server.auth, or config.server.public_without_auth: true if everybody may (docs/auth.md)." }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{- define "agents.ownSettings" -}}
execution_engine: temporal
temporal:
  host: {{ .Values.temporal.host | quote }}
  port: {{ .Values.temporal.port }}
  namespace: {{ .Values.temporal.namespace | quote }}
  task_queue: {{ .Values.temporal.taskQueue | quote }}
  {{- with .Values.temporal.tls }}
  {{- if not .enabled }}
  tls: false
  {{- else if not (or .secret .serverName) }}
  tls: true
  {{- else }}
  tls:
    {{- if and .secret .ca }}
    ca_cert_path: /etc/mcp-agent/temporal-tls/ca.crt
    {{- end }}
    {{- if and .secret .clientCertificate }}
    client_cert_path: /etc/mcp-agent/temporal-tls/tls.crt
    client_key_path: /etc/mcp-agent/temporal-tls/tls.key
    {{- end }}
    {{- with .serverName }}
    server_name: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- end }}
  {{- if .Values.temporal.apiKey.secret }}
  auth:
    api_key_file: /etc/mcp-agent/temporal-key/{{ .Values.temporal.apiKey.key }}
  {{- end }}
  {{- if .Values.codecKeys.secret }}
  data_converter:
    codec: aes256gcm
    compress: zstd
    keys:
      - file: /etc/mcp-agent/codec-keys/{{ .Values.codecKeys.key }}
  {{- end }}
server:
  app: {{ .Values.app | quote }}
  host: 0.0.0.0
  port: 8000
  public_url: {{ required "Say where clients reach the server: server.publicUrl." .Values.server.publicUrl | quote }}
  worker: false
  grace_seconds: {{ .Values.graceSeconds }}
observability:
  {{- if .Values.metrics.enabled }}
  metrics:
    host: 0.0.0.0
    port: {{ .Values.metrics.port }}
  {{- end }}
  health:
    host: 0.0.0.0
    port: 8081
logger:
  transports: [console]
  format: json
{{- end }}

{{/* A pod of one part. Takes a dict of root, part, values, arguments, container (ports, probes, lifecycle) and endsWithin (seconds). */}}
{{- define "agents.pod" -}}
{{- $ := .root }}
{{- $part := .part }}
{{- $values := .values -}}
metadata:
  labels:
    {{- include "agents.labels" (list $ $part) | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: mcp-agent
    checksum/config: {{ include "agents.settings" $ | sha256sum }}
    {{- if and $.Values.metrics.enabled (ne $part "codec-server") }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ $.Values.metrics.port | quote }}
    prometheus.io/path: /metrics
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "agents.name" $ }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .endsWithin }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with $.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "agents.selector" (list $ $part) | nindent 10 }}
    {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: mcp-agent
      image: {{ include "agents.image" (list $ $values.tag) }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args: {{ toJson .arguments }}
      env:
        - name: IMAGE_TAG
          value: {{ include "agents.tag" (list $ $values.tag) | quote }}
        {{- include "agents.environment" $ | nindent 8 }}
        {{- if and (eq $part "server") $.Values.stateKeys.secret }}
        {{- include "agents.stateKeys" $ | nindent 8 }}
        {{- end }}
      {{- with $.Values.environment.secrets }}
      envFrom:
        {{- range . }}
        - secretRef:
            name: {{ . }}
        {{- end }}
      {{- end }}
      {{- .container | nindent 6 }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - {name: config, mountPath: /etc/mcp-agent/config, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- range include "agents.secrets" $ | fromYamlArray }}
        - {name: {{ .name }}, mountPath: /etc/mcp-agent/{{ .name }}, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "agents.name" $ }}
    - name: tmp
      emptyDir:
        sizeLimit: 256Mi
    {{- range include "agents.secrets" $ | fromYamlArray }}
    - name: {{ .name }}
      secret:
        secretName: {{ .secret }}
        defaultMode: 0440
    {{- end }}
{{- end }}

{{/* The Secrets that are mounted, each below /etc/mcp-agent. A file that changes there is read again. */}}
{{- define "agents.secrets" -}}
{{- if and .Values.temporal.tls.enabled .Values.temporal.tls.secret }}
- {name: temporal-tls, secret: {{ .Values.temporal.tls.secret }}}
{{- end }}
{{- with .Values.temporal.apiKey.secret }}
- {name: temporal-key, secret: {{ . }}}
{{- end }}
{{- with .Values.codecKeys.secret }}
- {name: codec-keys, secret: {{ . }}}
{{- end }}
{{- end }}

{{- define "agents.environment" -}}
- name: MCP_AGENT_CONFIG
  value: /etc/mcp-agent/config/mcp_agent.config.yaml
{{- range $name, $value := .Values.environment.variables }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* server.state_keys, for the server alone: nobody else has to open what it seals. */}}
{{- define "agents.stateKeys" -}}
{{- $given := list }}
{{- range $n, $key := .Values.stateKeys.keys }}
{{- $given = append $given (printf "$(STATE_KEY_%d)" $n) }}
- name: STATE_KEY_{{ $n }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.stateKeys.secret }}
      key: {{ $key }}
{{- end }}
- name: MCP_AGENT__SERVER__STATE_KEYS
  value: {{ toJson $given | quote }}
{{- end }}

{{/* Start, life and readiness, at the named port. */}}
{{- define "agents.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 2
  failureThreshold: 90
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{- define "agents.serverContainer" -}}
ports:
  - {name: http, containerPort: 8000}
  {{- if .Values.metrics.enabled }}
  - {name: metrics, containerPort: {{ .Values.metrics.port }}}
  {{- end }}
{{ include "agents.probes" "http" }}
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.server.drainSeconds }}}
{{- end }}

{{- define "agents.workerContainer" -}}
ports:
  - {name: health, containerPort: 8081}
  {{- if .Values.metrics.enabled }}
  - {name: metrics, containerPort: {{ .Values.metrics.port }}}
  {{- end }}
{{ include "agents.probes" "health" }}
{{- end }}

{{- define "agents.codecContainer" -}}
ports:
  - {name: http, containerPort: 8081}
livenessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 5
{{- end }}

{{/* More replicas while they use more than a part of the processors that they asked for. Takes a dict of root, part, autoscaling. */}}
{{- define "agents.byProcessor" -}}
{{- $name := printf "%s-%s" (include "agents.name" .root) .part -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  labels:
    {{- include "agents.labels" (list .root .part) | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicas: {{ .autoscaling.minReplicas }}
  maxReplicas: {{ .autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .autoscaling.cpuPercent }}}
  behavior:
    scaleDown:
      stabilizationWindowSeconds: 300
{{- end }}

{{/* More replicas while tasks wait in the queues. Takes a dict of root, part, worker. */}}
{{- define "agents.byBacklog" -}}
{{- $ := .root -}}
{{- $name := printf "%s-%s" (include "agents.name" $) .part -}}
{{- $scaling := .worker.autoscaling -}}
{{- $secrets := include "agents.scalerSecrets" $ | fromYamlArray -}}
{{- $tls := $.Values.temporal.tls -}}
{{- if and $tls.enabled (not $.Values.temporal.apiKey.secret) (not (and $tls.secret $tls.clientCertificate)) -}}
{{- fail "KEDA speaks TLS to Temporal only with a client certificate or a key: give temporal.tls.secret, or worker.autoscaling.by: cpu." -}}
{{- end -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $name }}
  labels:
    {{- include "agents.labels" (list $ .part) | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ $name }}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  pollingInterval: 15
  cooldownPeriod: 300
  fallback:
    failureThreshold: 3
    replicas: {{ .worker.replicas }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          stabilizationWindowSeconds: 300
  triggers:
    {{- range include "agents.taskQueues" (list $ .worker) | fromYamlArray }}
    - type: temporal
      metadata:
        endpoint: {{ printf "%s:%v" $.Values.temporal.host $.Values.temporal.port | quote }}
        namespace: {{ $.Values.temporal.namespace | quote }}
        taskQueue: {{ . | quote }}
        queueTypes: workflow,activity
        targetQueueSize: {{ $scaling.tasksPerReplica | quote }}
        {{- if and $.Values.temporal.apiKey.secret (not $.Values.temporal.tls.enabled) }}
        enableTLS: "false"
        {{- end }}
        {{- with $.Values.temporal.tls.serverName }}
        tlsServerName: {{ . | quote }}
        {{- end }}
        {{- range $key, $value := $scaling.scaler }}
        {{ $key }}: {{ $value | quote }}
        {{- end }}
      {{- if $secrets }}
      authenticationRef:
        name: {{ $name }}
      {{- end }}
    {{- end }}
{{- if $secrets }}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: {{ $name }}
  labels:
    {{- include "agents.labels" (list $ .part) | nindent 4 }}
spec:
  secretTargetRef:
    {{- toYaml $secrets | nindent 4 }}
{{- end }}
{{- end }}

{{/* What KEDA itself shows to Temporal: the same certificate and key as the worker. */}}
{{- define "agents.scalerSecrets" -}}
{{- with .Values.temporal.tls }}
{{- if and .enabled .secret .ca }}
- {parameter: ca, name: {{ .secret }}, key: ca.crt}
{{- end }}
{{- if and .enabled .secret .clientCertificate }}
- {parameter: cert, name: {{ .secret }}, key: tls.crt}
- {parameter: key, name: {{ .secret }}, key: tls.key}
{{- end }}
{{- end }}
{{- with .Values.temporal.apiKey }}
{{- if .secret }}
- {parameter: apiKey, name: {{ .secret }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- end }}
