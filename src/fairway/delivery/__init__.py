"""Apps: from a commit to a running, routed version.

Reads:  App, PipelineRun, Release, Domain, DomainPolicy; Jobs, Pods and their logs; Deployments, ReplicaSets, Secrets.
Writes: all of `fairway.dev`; Jobs, NetworkPolicies and Secrets of builds; the objects of Releases by server-side apply.
Loop:   keyed: Apps, PipelineRuns and Releases each have their own.
Flow:   commit → PipelineRun → image → Release → objects; `git/`, `forges/` and `endpoint/` are the ways in.
"""

from fairway.delivery.config import Config as Config
