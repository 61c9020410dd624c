"""Container images: references, documents, layers, a store and a registry client (OCI image and distribution specs)."""
