{{- define "words.greeting" }}Hello, {{ .who }}{{ end }}
