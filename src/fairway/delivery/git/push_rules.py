"""What a push may do to which refs. Pure."""

from collections.abc import Sequence, Set

from fairway.delivery.git.errors import printable
from fairway.delivery.git.names import ref_problem
from fairway.delivery.git.packets import Command


def problems(commands: Sequence[Command], refs: Set[str], branch: str, refs_max: int) -> dict[str, str]:
    """By ref, why it is refused; nothing when the push may go on. The texts name value and fix."""
    found = {one.ref: text for one in commands if (text := _problem(one, branch))}
    if found:
        return found
    after = (refs | {one.ref for one in commands if not one.deletes}) - {one.ref for one in commands if one.deletes}
    if len(after) > refs_max and len(after) > len(refs):
        text = f"it would have {len(after)} branches and tags; the limit is {refs_max}: push fewer, or delete some"
        return {one.ref: text for one in commands if not one.deletes}
    return {}


def _problem(command: Command, branch: str) -> str:
    if command.deletes:
        deployed = command.ref == f"refs/heads/{branch}"
        fix = f'"{branch}" is the branch that is deployed; name another in spec.source.branch first'
        return fix if deployed else ""
    return ref_problem(command.ref)


def lines(found: dict[str, str], most: int = 10) -> tuple[str, ...]:
    """The same for the terminal of the person who pushes: each text once."""
    by_text: dict[str, str] = {}
    for ref, text in found.items():
        by_text.setdefault(text, ref)
    return tuple(f"error: {printable(ref)}: {text}" for text, ref in list(by_text.items())[:most])
