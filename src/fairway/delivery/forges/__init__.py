"""The forges: whether a webhook's delivery is genuine, and what is asked of their APIs (webhooks, statuses, files)."""
