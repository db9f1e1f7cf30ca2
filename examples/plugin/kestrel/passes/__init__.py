"""The passes of the plugin: every module here is searched, as in qir's own folder."""
