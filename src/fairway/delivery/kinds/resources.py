"""Where the kinds of `fairway.dev` live, and the words that tie objects together."""

from fairway.kube.api.resource import Resource

GROUP = "fairway.dev"
VERSION = "v1alpha1"

APPS = Resource(GROUP, VERSION, "apps", "App")
PIPELINE_RUNS = Resource(GROUP, VERSION, "pipelineruns", "PipelineRun")
RELEASES = Resource(GROUP, VERSION, "releases", "Release")
DOMAINS = Resource(GROUP, VERSION, "domains", "Domain", namespaced=False)
DOMAIN_POLICIES = Resource(GROUP, VERSION, "domainpolicies", "DomainPolicy", namespaced=False)

FIELD_MANAGER = "fairway-delivery"

APP_LABEL = "fairway.dev/app"
ENVIRONMENT_LABEL = "fairway.dev/environment"
RUN_LABEL = "fairway.dev/run"
RELEASE_LABEL = "fairway.dev/release"
COMMIT_ANNOTATION = "fairway.dev/commit"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "fairway"

PRODUCTION = "production"
"""The environment of an App that names none; its objects carry the App's bare name."""
