"""What the world can do to the service proxy.

NftablesError    the kernel or the nft command refused a transaction; the old rules are still in force
"""


class NftablesError(Exception):
    """A transaction or a listing failed; nothing was changed."""
