"""The one HTTP server of the room: git, runs, webhooks and logs, each behind its own path."""
