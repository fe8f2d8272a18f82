"""Pictures, as SVG of the server: no script draws them, and no attribute styles them."""
