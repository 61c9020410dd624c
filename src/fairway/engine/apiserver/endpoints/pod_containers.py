"""Which container of a pod a request is about."""

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.store.entries import Object


def container_of(pod: Object, wanted: str) -> str:
    """The container that is meant, or the only one. Raises ApiError 400 in upstream's words."""
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    main, init, ephemeral = (
        [container["name"] for container in spec.get(key) or ()]
        for key in ("containers", "initContainers", "ephemeralContainers")
    )
    if wanted:
        if wanted not in (*main, *init, *ephemeral):
            raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(main) == 1 and not init and not ephemeral:
        return str(main[0])
    if not main:
        raise errors.bad_request(f"a container name must be specified for pod {name}")
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        message += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise errors.bad_request(message)
