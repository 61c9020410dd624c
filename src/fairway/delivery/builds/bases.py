"""Base images that are assembled on this machine when they are first needed: each once, whoever waits for it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from fairway.delivery.builds.target import BuildError
from fairway.toolkit.oci.bases import RECIPES
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse

Tell = Callable[[str], None]
Assemble = Callable[[str, Tell], Awaitable[None]]
"""Makes the base of a recipe in the node's store, telling its progress. Raises OSError with text for people."""
_LINES_MAX = 100
_PATIENCE_SECONDS = 900.0
_FAILED_SECONDS = 60.0


class Making:
    """A base on its way. `problem` says why there is none, and what to do."""

    def __init__(self, recipe: str, assemble: Assemble) -> None:
        self.lines: list[str] = [f"making base {recipe} from Debian packages, once for this machine"]
        self.problem = ""
        self._recipe = recipe
        self.task = asyncio.create_task(self._run(assemble))
        self.ended_at: float | None = None

    def tell(self, line: str) -> None:
        if len(self.lines) < _LINES_MAX:
            self.lines.append(f"  {line}")

    async def _run(self, assemble: Assemble) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await assemble(self._recipe, self.tell)
            self.lines.append(f"base {self._recipe} is made")
        except TimeoutError:
            self._fail(f"it took longer than {_PATIENCE_SECONDS:.0f} s")
        except OSError as error:
            self._fail(error.strerror or str(error))
        finally:
            self.ended_at = asyncio.get_running_loop().time()

    def _fail(self, reason: str) -> None:
        self.problem = (
            f"the base image {self._recipe} is not here and could not be made: {reason}; where this machine has "
            f"Debian packages: fairway image build --base {self._recipe}, or bring it: fairway image import FILE.tar"
        )
        self.lines.append(self.problem)


class Bases:
    """Those under way; a failure counts for a minute, so that it is not repeated for every job of a run."""

    def __init__(self, assemble: Assemble | None) -> None:
        self._assemble = assemble
        self._makings: dict[str, Making] = {}

    @property
    def possible(self) -> bool:
        return self._assemble is not None

    def of(self, recipe: str) -> Making:
        """The making of a base: the one that runs, or the one that failed just now, else a new one.

        Raises BuildError where bases cannot be made.
        """
        if self._assemble is None:
            raise BuildError(f"the base image {recipe} is not here; make it with: fairway image build --base {recipe}")
        found = self._makings.get(recipe)
        if found is None or (found.task.done() and not self._counts(found)):
            found = self._makings[recipe] = Making(recipe, self._assemble)
        return found

    async def ensure(self, recipe: str, tell: Tell) -> None:
        """Wait for a base. Raises BuildError."""
        making, told = self.of(recipe), 0
        while True:
            ended = making.task.done()
            for line in making.lines[told:]:
                tell(line)
            told = len(making.lines)
            if ended:
                break
            await asyncio.wait((making.task,), timeout=0.5)
        if making.problem:
            raise BuildError(making.problem)

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = [one.task for one in self._makings.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def _counts(making: Making) -> bool:
        since = asyncio.get_running_loop().time() - (making.ended_at or 0.0)
        return bool(making.problem) and since < _FAILED_SECONDS


def recipe_of(wanted: Reference) -> str | None:
    """The recipe that gives this image, if one does."""
    return next((one.name for one in RECIPES.values() if wanted in map(parse, one.tags)), None)


def recipes_of(images: Iterable[str]) -> dict[str, Reference]:
    """The recipes among image names, with what is wanted of them; names that are none fail where they are used."""
    found: dict[str, Reference] = {}
    for image in images:
        try:
            wanted = parse(image)
        except InvalidReference:
            continue
        if (recipe := recipe_of(wanted)) is not None:
            found[recipe] = wanted
    return found
