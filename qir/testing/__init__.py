"""The runner of `.qir` tests: RUN, CHECK and EVAL lines, in the process of the test session."""
