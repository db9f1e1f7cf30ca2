"""Making a failing graph and its pipeline smaller."""
