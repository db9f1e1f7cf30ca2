"""Examples that stand on their own."""
