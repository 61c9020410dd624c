"""Images from folders: static sites onto a web server, written into the node's store or pushed to a registry."""
