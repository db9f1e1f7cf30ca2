"""The passes, one file each: a function from graph to graph."""
