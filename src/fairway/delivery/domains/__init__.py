"""Which App has which host: what the policies allow, and claims of which only one wins."""
