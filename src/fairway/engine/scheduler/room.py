"""The room as one thing that runs."""

import asyncio

from fairway.engine.scheduler.controller import Scheduler, Storage
from fairway.kube.api.config import Namespace, Node
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PODS, STORAGE_CLASSES
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import StorageClass
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.toolkit.clock import Clock


async def run(client: ApiClient, clock: Clock) -> None:
    """Schedule until cancelled."""
    pods = Reflector(client, PODS, Pod, clock)
    nodes = Reflector(client, NODES, Node, clock)
    namespaces = Reflector(client, NAMESPACES, Namespace, clock)
    claims = Reflector(client, PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim, clock)
    classes = Reflector(client, STORAGE_CLASSES, StorageClass, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(pods, nodes, namespaces, claims, classes))
        await wait_synced(pods, nodes, namespaces, claims, classes)
        storage = Storage(claims.cache, classes.cache)
        scheduler = Scheduler(client, pods.cache, nodes.cache, namespaces.cache, storage, clock)
        tasks.create_task(run_keyed("scheduler", scheduler.queue, scheduler.reconcile))
