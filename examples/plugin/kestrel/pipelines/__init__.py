"""The pipelines of the plugin: its `.pipe` files."""
