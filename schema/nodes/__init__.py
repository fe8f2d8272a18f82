"""How nodes prove who they are: keys, the proofs made with them, and logins."""
