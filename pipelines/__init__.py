"""Named pipelines: one `.pipe` file each; the folder is the registry."""
