"""The folders behind volumes: made empty, removed with everything in them."""

import asyncio
import os
import shutil
from pathlib import Path

_OPEN_TO_ALL = 0o777  # whoever mounts it decides; the parent folder lets nobody else through


class Folders:
    """One folder per volume below `root`; nothing outside it is ever touched."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def make(self, name: str) -> Path:
        """Raises OSError."""
        return await asyncio.to_thread(self._make, name)

    async def remove(self, path: str) -> None:
        """Remove one of our folders; a path that is not ours raises ValueError.  Raises OSError."""
        folder = Path(os.path.normpath(path))
        if folder.parent != self.root:
            raise ValueError(f"{path} is not a volume of this node: it must be directly below {self.root}")
        if folder.is_symlink():
            raise ValueError(f"{path} is a link: it was not made here")
        try:
            await asyncio.to_thread(shutil.rmtree, folder)
        except FileNotFoundError:
            return

    def _make(self, name: str) -> Path:
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        folder.chmod(_OPEN_TO_ALL)
        return folder
