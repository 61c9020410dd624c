"""What builds a JavaScript site, and where its output lands: the well-known frameworks."""

from collections.abc import Mapping

import msgspec

from fairway.delivery.pipelines.ir import Problem


class Framework(msgspec.Struct, frozen=True):
    """Told by a `package` among the dependencies. Without `output` it is a program that is started."""

    name: str
    package: str
    output: str = ""
    script: str = "build"


FRAMEWORKS = (
    # The more special come first: a VitePress site depends on vite too.
    Framework("vitepress", "vitepress", "docs/.vitepress/dist", "docs:build"),
    Framework("vuepress", "vuepress", "src/.vuepress/dist", "docs:build"),
    Framework("docusaurus", "@docusaurus/core", "build"),
    Framework("storybook", "@storybook/builder-vite", "storybook-static", "build-storybook"),
    Framework("eleventy", "@11ty/eleventy", "_site"),
    Framework("gatsby", "gatsby", "public"),
    Framework("hexo", "hexo", "public"),
    Framework("astro", "astro", "dist"),
    Framework("sveltekit", "@sveltejs/adapter-static", "build"),
    Framework("sveltekit server", "@sveltejs/adapter-node"),
    Framework("next", "next"),
    Framework("nuxt", "nuxt"),
    Framework("angular", "@angular/core", "dist"),
    Framework("vue-cli", "@vue/cli-service", "dist"),
    Framework("create-react-app", "react-scripts", "build"),
    Framework("umi", "umi", "dist"),
    Framework("vite", "vite", "dist"),
    Framework("parcel", "parcel", "dist"),
)
OUTPUTS = ("dist", "build", "out", "public", "_site")
"""Where builds put their result, most likely."""


class Package(msgspec.Struct, frozen=True):
    """What is read of package.json."""

    scripts: Mapping[str, str] = {}
    dependencies: Mapping[str, str] = {}
    dev_dependencies: Mapping[str, str] = msgspec.field(name="devDependencies", default={})
    engines: Mapping[str, str] = {}
    package_manager: str = msgspec.field(name="packageManager", default="")
    main: str = ""

    def version(self, package: str) -> str | None:
        """The wanted version of a dependency, or None when it is none."""
        return self.dependencies.get(package, self.dev_dependencies.get(package))


class Manager(msgspec.Struct, frozen=True):
    """A package manager: how it installs from a lockfile, runs scripts, and where its cache can be."""

    name: str
    lockfile: str
    install: str
    run: str
    cache: str
    setting: str
    """The variable that puts the cache there."""


NPM = Manager(
    "npm",
    "package-lock.json",
    # npm can write lockfiles that its own `ci` refuses (optional packages of other platforms)
    "npm ci || { echo 'npm ci refused the lockfile; npm install is tried instead'; npm install; }",
    "npm run",
    ".npm",
    "npm_config_cache",
)
MANAGERS = (
    Manager(
        "pnpm",
        "pnpm-lock.yaml",
        "corepack enable && pnpm install --frozen-lockfile",
        "pnpm run",
        ".pnpm-store",
        "npm_config_store_dir",
    ),
    Manager("yarn", "yarn.lock", "corepack enable && yarn install", "yarn run", ".yarn-cache", "YARN_CACHE_FOLDER"),
    Manager("bun", "bun.lock", "bun install --frozen-lockfile", "bun run", ".bun-cache", "BUN_INSTALL_CACHE_DIR"),
    NPM,
)


def read_package(text: str) -> Package | Problem:
    """package.json, as far as it matters."""
    try:
        return msgspec.json.decode(text, type=Package)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Problem(str(error), file="package.json")


def manager_of(package: Package, names: frozenset[str]) -> tuple[Manager, bool]:
    """The package manager, and whether its lockfile is there."""
    for manager in MANAGERS:
        if manager.lockfile in names:
            return manager, True
    wanted = package.package_manager.partition("@")[0]
    return next((manager for manager in MANAGERS if manager.name == wanted), NPM), False


def framework_of(package: Package, files: Mapping[str, str]) -> Framework | None:
    """The first framework of the table that the package depends on."""
    found = next((one for one in FRAMEWORKS if package.version(one.package) is not None), None)
    if found is None:
        return None
    version = (package.version(found.package) or "").lstrip("^~>=v ").partition(".")[0]
    label = f"{found.name} {version}" if version.isdecimal() else found.name
    if found.name == "next" and "export" in _setting(files, "output", ("next.config.js", "next.config.mjs")):
        return Framework(label, found.package, "out")
    if found.name == "nuxt" and "generate" in package.scripts and "start" not in package.scripts:
        return Framework(label, found.package, ".output/public", "generate")
    script = found.script if found.script in package.scripts else "build"
    return Framework(label, found.package, found.output, script)


def node_version(package: Package, files: Mapping[str, str]) -> str:
    """The major version of Node.js: `.nvmrc`, `engines.node`, else the one with long-term support."""
    for text in (files.get(".nvmrc", ""), files.get(".node-version", ""), package.engines.get("node", "")):
        digits = text.strip().lstrip("v^~>= ").partition(".")[0].partition(" ")[0]
        if digits.isdecimal() and 10 <= int(digits) < 100:
            return digits
    return "lts"


def guessed_output(names: frozenset[str]) -> str:
    """Where a build script without a known framework puts its result, most likely."""
    return next((name for name in OUTPUTS if name not in names), OUTPUTS[0])


def _setting(files: Mapping[str, str], name: str, paths: tuple[str, ...]) -> str:
    """The rest of the line behind `name:` in a configuration file."""
    lines = (line for path in paths for line in files.get(path, "").splitlines())
    return next((line.partition(":")[2] for line in lines if line.strip().startswith(f"{name}:")), "")
