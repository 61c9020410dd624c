"""PersistentVolumeClaims to PersistentVolumes: found among those that exist, or made from a folder of this node.

Reads: PersistentVolumeClaim, PersistentVolume, StorageClass, Pod, Node.
Writes: PersistentVolume, PersistentVolumeClaim and their status, the default StorageClass, Events; folders of volumes.
Loop:  keyed, by claim and by volume.     Flow: snapshot -> plan -> controller -> folders.
"""
