"""What is sent back: made of an endpoint's answer, or the same as it was before."""
