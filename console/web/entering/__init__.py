"""How somebody gets in: by a key, with a password or at an issuer; and out again."""
