"""Models as their users write them, in Flax; none of these files knows qir."""
