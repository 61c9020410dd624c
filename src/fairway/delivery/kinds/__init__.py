"""The nouns of delivery, group `fairway.dev`: their fields, their URLs, and the CRDs that make the API serve them."""
