"""What every namespace gets: the ServiceAccount `default`, and the cluster's CA for its pods.

Reads: Namespace, ServiceAccount, ConfigMap.   Writes: ServiceAccount, ConfigMap.
Loop:  keyed.     Flow: plan -> controller.
"""
