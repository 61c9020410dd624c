"""What the world can do to the service proxy.

NftablesError    the kernel or the nft command refused a transaction; the old rules are still in force
"""

from fairway.toolkit.libnftables import NftablesError as NftablesError
