"""What one server carries: what a message of each sort costs, and so fleets that are made of them."""
