"""A chart as Fairway renders it where there is no `helm` but the package:  FOLDER NAME NAMESPACE VALUES > text"""

import asyncio
import sys
from pathlib import Path

from fairway.delivery.releases import programs

folder, name, namespace, values = sys.argv[1:]
made = asyncio.run(programs.helm(Path(folder), "", name, namespace, Path(values)))
if not isinstance(made, str):
    sys.exit(made.text)
print(made)
