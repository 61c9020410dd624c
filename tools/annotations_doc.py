"""Write docs/annotations.md from the table of annotations: `python tools/annotations_doc.py`."""

from collections import Counter
from pathlib import Path

from fairway.edge.translate import global_auth
from fairway.edge.translate.controller_config import KEYS, SETTINGS, TCP_SERVICES, UDP_SERVICES
from fairway.edge.translate.table import ALIASES, DEPRECATED, NGINX, OWN, Annotation, How

PAGE = Path(__file__).parents[1] / "docs" / "annotations.md"
_SAYS = {
    How.NATIVE: "works",
    How.LUA: "works, with the Lua part",
    How.HARMLESS: "accepted, nothing to do",
    How.PARTIAL: "in part, with a warning Event",
    How.REFUSED: "refused, with an Event",
}


def page() -> str:
    """The whole page."""
    counts = Counter(one.how for one in NGINX)
    keys = sorted((*KEYS, *global_auth.KEYS))
    lines = [
        "# Annotations",
        "",
        "Generated from `src/fairway/edge/translate/table.py` by `tools/annotations_doc.py`; do not edit.",
        "",
        f"Fairway reads all {len(NGINX)} `nginx.ingress.kubernetes.io/*` annotations of ingress-nginx v1.15 with their",
        "own meaning. A value that cannot be understood refuses the Ingress with an Event; it keeps the last version",
        "that was right. When an annotation that keeps people out (marked 🔒) cannot be obeyed, nobody is let in.",
        "",
        "| | annotations |",
        "|---|---|",
        *(f"| {says} | {counts[how]} |" for how, says in _SAYS.items()),
        "",
        "| annotation | | what it does here |",
        "|---|---|---|",
        *(_row(one) for one in NGINX),
        "",
        "## Other names",
        "",
        *(f"- `{alias}` is `{name}`." for alias, name in ALIASES.items()),
        *(
            f"- `{name}` is of an older version and has no effect; use {instead}."
            for name, instead in DEPRECATED.items()
        ),
        "",
        "## Fairway's own",
        "",
        "Under `fairway.dev/`:",
        "",
        "| annotation | what it does |",
        "|---|---|",
        *(f"| `{one.name}` | {_cell(one.note)} |" for one in OWN),
        "",
        "## For all Ingresses",
        "",
        f"Of the ConfigMap `{SETTINGS}` are read: {', '.join(f'`{key}`' for key in keys)}. Where it exists,",
        "ingress-nginx' own defaults count, so answers over TLS carry HSTS. Mistakes are Events on the ConfigMap.",
        "",
        f"`{TCP_SERVICES}` opens TCP ports: `PORT: namespace/service:port[:PROXY[:PROXY]]`;",
        "the first PROXY is for clients, the second for servers. A port that another program has is an Event on the",
        "ConfigMap, is tried again, and holds nothing else up. In a cluster of `fairway up` these ports are open",
        "inside its own network; on the host, a Service of type LoadBalancer or NodePort opens one.",
        "",
        f"What `{UDP_SERVICES}` lists becomes an Event: give those Services the type LoadBalancer or NodePort.",
        "",
        "## Services outside the cluster",
        "",
        "A Service of type ExternalName is reached by its name, which HAProxy resolves again every few seconds. The",
        "client's Host is passed on; most servers outside want their own: set `upstream-vhost`, and",
        "`backend-protocol: HTTPS` where they speak TLS.",
    ]
    return "\n".join(lines) + "\n"


def _row(one: Annotation) -> str:
    lock = " 🔒" if one.protects else ""
    note = one.note
    if one.how is How.REFUSED:
        note = f"use {note}"
    return f"| `{one.name}`{lock} | {_SAYS[one.how]} | {_cell(note)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
