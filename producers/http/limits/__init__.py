"""How much the HTTP API takes: from one principal, from one address, in one request, and in all."""
