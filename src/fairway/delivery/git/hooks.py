"""The one hook that runs in repositories: our own file, written again whenever it is not what it should be."""

from pathlib import Path

from fairway.toolkit import files

PRE_RECEIVE = b"""\
#!/bin/sh
# Refuses files above FAIRWAY_BLOB_BYTES_MAX bytes, before any ref of the push moves.
new=$(while read -r _ id _; do case $id in *[!0]*) echo "$id" ;; esac; done)
[ -n "$new" ] || exit 0
echo "$new" | git rev-list --objects --stdin --not --all |
git cat-file --batch-check='%(objecttype) %(objectsize) %(rest)' |
awk -v most="$FAIRWAY_BLOB_BYTES_MAX" '
    $1 == "blob" && $2 + 0 > most + 0 && shown++ < 5 {
        size = $2; sub(/^blob [0-9]+ /, ""); gsub(/[[:cntrl:]]/, "?")
        print "error: " $0 " has " size " bytes; a file may have at most " most
        print "Remove it from every commit of this push."
    }
    END { exit shown > 0 }' >&2
"""


def install(repository: Path) -> None:
    """Only we own it; git's user may read and run it. Raises OSError."""
    folder = repository / "hooks"
    if folder.is_symlink():  # git's user owns the folder above, and could lead us astray
        folder.unlink()
        folder.mkdir(mode=0o755)
    for other in folder.iterdir():
        if other.name != "pre-receive":
            other.unlink()
    path = folder / "pre-receive"
    if not path.exists() or path.read_bytes() != PRE_RECEIVE or path.stat().st_mode & 0o777 != 0o755:
        files.replace(path, PRE_RECEIVE, mode=0o755)
