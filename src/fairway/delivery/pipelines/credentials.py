"""The secrets around a run: logins for registries, and every value that must not stand in a log."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from fairway.delivery.kinds.apps import App
from fairway.delivery.pipelines.ir import Job
from fairway.delivery.pipelines.masking import forms
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.toolkit.oci.authentication import BadCredentials, Credential, Login, parse_docker_config

_DOCKER_CONFIG = ".dockerconfigjson"


async def registry_credentials(client: ApiClient, app: App) -> tuple[Credential, ...]:
    """The logins of the App's registry Secret. Raises BadCredentials, whose text names the Secret."""
    name = app.spec.registry.credentials_secret
    if not name:
        return ()
    found = await _secret(client, app.metadata.namespace, name)
    if found is None or _DOCKER_CONFIG not in found:
        raise BadCredentials(
            f"spec.registry.credentialsSecret: there is no Secret {name!r} of type kubernetes.io/dockerconfigjson"
        )
    return parse_docker_config(found[_DOCKER_CONFIG].encode())


async def file_credentials(client: ApiClient, app: App, job: Job) -> tuple[Credential, ...]:
    """The logins of a job's `docker login`, with what the variables named there hold; those without a value are left.

    The App's variables win over the file's, as in any job. Raises ApiError, Unreachable.
    """
    found = []
    for login in job.make.logins if job.make is not None else ():
        user, password = login.user, await _variable(client, app, job, login.password_variable)
        if login.user_variable:
            user = await _variable(client, app, job, login.user_variable)
        if user and password:
            found.append(Credential(login.registry, Login(user, password.strip())))
    return tuple(found)


async def _variable(client: ApiClient, app: App, job: Job, name: str) -> str:
    """What a job sees under a name; "" when there is nothing."""
    for variable in app.spec.build.variables:
        if variable.name == name and variable.value_from is not None:
            selector = variable.value_from.get("secretKeyRef") or {}
            held = await _secret(client, app.metadata.namespace, str(selector.get("name", ""))) or {}
            return held.get(str(selector.get("key", "")), "")
    return job.variables.get(name, "")


async def masked_values(client: ApiClient, app: App, token: str) -> frozenset[bytes]:
    """What is to be masked: variables that come from Secrets, registry passwords, the run's token."""
    values = [token]
    for variable in app.spec.build.variables:
        selector = (variable.value_from or {}).get("secretKeyRef") or {}
        found = await _secret(client, app.metadata.namespace, str(selector.get("name", "")))
        values += [found[selector["key"]]] if found and selector.get("key") in found else []
    try:
        for credential in await registry_credentials(client, app):
            login = credential.login
            values += [login.password, login.identity_token, login.registry_token]
    except BadCredentials:
        pass  # it is reported where the login is needed
    return forms(value for value in values if value)


async def _secret(client: ApiClient, namespace: str, name: str) -> dict[str, str] | None:
    if not name:
        return None
    try:
        raw = await client.get(SECRETS, name, namespace)
    except NotFound:
        return None
    return dict(_texts(raw))


def _texts(raw: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in (raw.get("data") or {}).items():
        try:
            yield key, base64.b64decode(value).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            continue
