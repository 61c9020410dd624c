"""The room at work: caches filled, the Service published, questions answered."""

import asyncio

from fairway.engine.dns.config import Config
from fairway.engine.dns.forward import Forwarder
from fairway.engine.dns.ir import zone
from fairway.engine.dns.publish import Publisher
from fairway.engine.dns.records import SERVICE_INDEXES, SLICE_INDEXES, CacheRecords, Namespace
from fairway.engine.dns.server import NameServer, bind, serve
from fairway.kube.api.resource import ENDPOINT_SLICES, NAMESPACES, SERVICES
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.whole import run_whole
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "dns"
log = logs.get(ROOM)


async def run(client: ApiClient, config: Config, clock: Clock) -> None:
    """Serve names until cancelled.  Raises OSError when the address cannot be bound."""
    # Bound first, read once the caches are full: questions of the first moments wait instead of being refused.
    udp, tcp = bind(config.address, config.port)
    try:
        services = Reflector(client, SERVICES, Service, clock, indexes=SERVICE_INDEXES)
        slices = Reflector(client, ENDPOINT_SLICES, EndpointSlice, clock, indexes=SLICE_INDEXES)
        namespaces = Reflector(client, NAMESPACES, Namespace, clock)
        records = CacheRecords(services.cache, slices.cache, namespaces.cache)
        cidrs = (config.service_cidr, config.pod_cidr)
        own = zone(config.domain, config.service_ip, cidrs, config.ttl_seconds)
        server = NameServer(own, records, Forwarder(config, clock))
        publisher = Publisher(client, config, services.cache, slices.cache)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_reflectors(services, slices, namespaces))
            await wait_synced(services, slices, namespaces)
            tasks.create_task(run_whole(ROOM, publisher.dirty, publisher.once, clock=clock))
            tasks.create_task(serve(server, udp, tcp))
            log.info("listening", address=config.address, port=config.port, upstreams=",".join(config.upstreams))
    finally:
        udp.close()
        tcp.close()
