from qir.testing.lit_format import configure
configure(config, "kestrel")
