"""What answers hold: a model a noun, so that nothing is shown that is not named here."""
