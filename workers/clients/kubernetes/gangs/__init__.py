"""What the pods of a gang have together: how they find each other, and what lets them in to each other."""
